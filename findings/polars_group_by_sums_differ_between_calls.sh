#!/usr/bin/env bash
# polars 2.1.0, numpy 2.4.6 (Python 3.11): group_by("k").agg(sum) of the same floats has other last bits in each call.
#
# With more than one thread, and a frame of a million rows, the groups' partial sums are added in the order in which the
# threads come. maintain_order=True, which is what one finds when looking for a remedy, fixes the order of the groups and
# not of the additions. The same sums as a window, .over("k"), repeat, and so do those of a frame that was sorted by the
# key before. Means, and with them the normalisers of features that a training is given, are as the sums.
#
# What it prints, for each way: how many different results twelve equal calls gave.
#   four threads: group_by more, with maintain_order more, mean more, over 1, sorted 1
#   one thread: group_by 1, with maintain_order 1, mean 1, over 1, sorted 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 polars==2.1.0

cd "$work"
cat > sums.py <<'PROGRAM'
import sys

import numpy as np
import polars

rows = 1_000_000
rng = np.random.default_rng(0)
frame = polars.DataFrame({"k": rng.integers(0, 50, rows), "x": rng.lognormal(0, 3, rows)})
x = polars.col("x")
ways = {
    "group_by": lambda: frame.group_by("k").agg(x.sum()).sort("k"),
    "with maintain_order": lambda: frame.group_by("k", maintain_order=True).agg(x.sum()),
    "mean": lambda: frame.group_by("k").agg(x.mean()).sort("k"),
    "over": lambda: frame.select(x.sum().over("k")),
    "sorted": lambda: frame.sort("k").group_by("k").agg(x.sum()).sort("k"),
}


def results(call):
    found = len({call()["x"].to_numpy().tobytes() for _ in range(12)})
    return found if found == 1 else "more"


print(f"{sys.argv[1]}: " + ", ".join(f"{name} {results(call)}" for name, call in ways.items()))
PROGRAM

{
    POLARS_MAX_THREADS=4 "$work/venv/bin/python" sums.py "four threads"
    POLARS_MAX_THREADS=1 "$work/venv/bin/python" sums.py "one thread"
} | tee said
cmp - said <<'EXPECTED'
four threads: group_by more, with maintain_order more, mean more, over 1, sorted 1
one thread: group_by 1, with maintain_order 1, mean 1, over 1, sorted 1
EXPECTED
