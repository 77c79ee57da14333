#!/usr/bin/env bash
# numpy 2.4.6, pandas 3.1.1 (Python 3.11, x86-64): which of equal values comes first depends on the processor.
#
# np.argsort and np.argpartition sort by the widest vector instructions that the processor has: one algorithm for
# AVX-512, one for AVX2, one for neither, each with another order of equal values, for numbers of 32 and 64 bits. So
# df.sort_values("score").head(100) is another hundred rows on another machine, as are hard examples, bins of ranks and a
# split by time stamps that repeat. It is another one for the same scores in float16, too. Values that are all different
# show nothing. kind="stable" and np.lexsort give one order everywhere. Here one machine, which must have AVX2 as nearly
# all do, is told to use fewer of its instructions.
#
# What it prints, of two thousand numbers from 0 to 49: whether a result is the one without AVX2 and AVX-512.
#   np.argsort float32: all instructions another order, without AVX-512 another order
#   np.argsort float64: all instructions another order, without AVX-512 another order
#   np.argsort float16: all instructions the same, without AVX-512 the same
#   the rows of argpartition's first 100: all instructions others, without AVX-512 others
#   the rows of sort_values().head(100): all instructions others, without AVX-512 others
#   sort_values(kind="stable"): all instructions the same, without AVX-512 the same
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pandas==3.1.1

cd "$work"
cat >program.py <<'PROGRAM'
import json
import sys

import numpy as np
import pandas as pd

numbers = np.random.default_rng(0).integers(0, 50, 2000)
frame = pd.DataFrame({"score": numbers.astype(np.float64)})
found = {f"np.argsort {kind}": np.argsort(numbers.astype(kind)) for kind in ("float32", "float64", "float16")}
found["the rows of argpartition's first 100"] = np.sort(np.argpartition(frame.score.to_numpy(), 100)[:100])
found["the rows of sort_values().head(100)"] = np.sort(frame.sort_values("score").head(100).index)
found['sort_values(kind="stable")'] = frame.sort_values("score", kind="stable").index
json.dump({name: rows.tolist() for name, rows in found.items()}, open(sys.argv[1], "w"))
PROGRAM
run() { NPY_DISABLE_CPU_FEATURES="$2" "$work/venv/bin/python" -W ignore program.py "$1"; }
run all ""
run less "X86_V4 AVX512_ICL AVX512_SPR"
run none "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import json

every, less, none = (json.load(open(name)) for name in ("all", "less", "none"))
for name, rows in none.items():
    other = "others" if "rows" in name else "another order"
    a, b = ("the same" if found[name] == rows else other for found in (every, less))
    print(f"{name}: all instructions {a}, without AVX-512 {b}")
PROGRAM
cmp - said <<'EXPECTED'
np.argsort float32: all instructions another order, without AVX-512 another order
np.argsort float64: all instructions another order, without AVX-512 another order
np.argsort float16: all instructions the same, without AVX-512 the same
the rows of argpartition's first 100: all instructions others, without AVX-512 others
the rows of sort_values().head(100): all instructions others, without AVX-512 others
sort_values(kind="stable"): all instructions the same, without AVX-512 the same
EXPECTED
