#!/usr/bin/env bash
# pandas 3.1.1 and bottleneck 1.6.0 (numpy 2.4.6, Python 3.11): the standard deviation of the same column is 1.00 or
# 10.96, by whether bottleneck is installed.
#
# pandas uses bottleneck as soon as it can be imported, to be faster. For std and var of float32 it adds up in float32,
# one number after the other, and a large sum leaves no room for the digits of the next number; pandas itself takes
# float64. pandas keeps bottleneck from sums and means, for such reasons, but not from std, var and so describe(). The
# error begins at some hundred thousand rows, and is the larger the further the numbers lie from zero, as pressures and
# temperatures in kelvin do. So features are scaled otherwise after some package has brought bottleneck along, and nothing
# is said. groupby has code of its own. pd.set_option("compute.use_bottleneck", False) or float64 mends it.
#
# What it prints, of ten million numbers around 100 with a standard deviation of 1:
#   without bottleneck: float32 std 1.00, describe 1.00, groupby 1.00; float64 std 1.00
#   with bottleneck: float32 std 10.96, describe 10.96, groupby 1.00; float64 std 1.00
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
install() { "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
install numpy==2.4.6 pandas==3.1.1

cd "$work"
cat >program.py <<'PROGRAM'
import sys

import numpy as np
import pandas as pd

column = pd.Series(np.random.default_rng(0).normal(100, 1, 10_000_000).astype(np.float32))
grouped = column.groupby(np.zeros(len(column), np.int8)).std()[0]
ways = f"std {column.std():.2f}, describe {column.describe()['std']:.2f}, groupby {grouped:.2f}"
print(f"{sys.argv[1]}: float32 {ways}; float64 std {column.astype(np.float64).std():.2f}")
PROGRAM
{
    "$work/venv/bin/python" program.py "without bottleneck"
    install numpy==2.4.6 bottleneck==1.6.0
    "$work/venv/bin/python" program.py "with bottleneck"
} | tee said
cmp - said <<'EXPECTED'
without bottleneck: float32 std 1.00, describe 1.00, groupby 1.00; float64 std 1.00
with bottleneck: float32 std 10.96, describe 10.96, groupby 1.00; float64 std 1.00
EXPECTED
