#!/usr/bin/env bash
# torch 2.13.0 (CPU), polars 2.1.0, numpy 2.4.6, pyarrow 26.0.1, ml_dtypes 0.7.0 (Python 3.11): float64 becomes another
# float16 in torch and polars than in numpy and pyarrow, and another bfloat16 in torch than in ml_dtypes.
#
# Tensor.half(), bfloat16(), to(), copy_() and torch.tensor(dtype=) make a float32 of a float64 first and round that,
# and polars' cast does so, too: a number just beside the middle of two float16 is in the middle after the first
# rounding, and the second one then takes the even neighbour, be it the farther one. numpy, pyarrow and ml_dtypes round
# once, to the nearest. The error is a unit in the last place of about one in ten thousand uniform numbers: so features
# that are cast by numpy before they become a tensor are other ones than those that are cast by torch after that, and
# one element is enough for another hash and another training. float32 to float16 is the same everywhere. Cast float64
# to half precision in one place alone.
#
# What it prints: of a million uniform numbers, how many are not the nearest; and what becomes of 1 + 2**-11 + 2**-40,
# whose nearest float16 is 1.0009765625, and of 1 + 2**-8 + 2**-40, whose nearest bfloat16 is 1.0078125.
#   float16, torch half(): 76 not the nearest, 1.0
#   float16, torch tensor(dtype=): 76 not the nearest, 1.0
#   float16, torch copy_(): 76 not the nearest, 1.0
#   float16, polars: 76 not the nearest, 1.0
#   float16, numpy: 0 not the nearest, 1.0009765625
#   float16, pyarrow: 0 not the nearest, 1.0009765625
#   float16, numpy over float32: 76 not the nearest, 1.0
#   bfloat16, torch bfloat16(): 12 not the nearest, 1.0
#   bfloat16, ml_dtypes: 0 not the nearest, 1.0078125
#   float32 to float16 by torch and by numpy: equal
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 polars==2.1.0 pyarrow==26.0.1 ml_dtypes==0.7.0

cd "$work"
cat >program.py <<'PROGRAM'
import ml_dtypes
import numpy as np
import polars as pl
import pyarrow as pa
import torch

uniform = np.random.default_rng(0).random(1_000_000)


def nearest(numbers, kept):
    """Round to so many bits after the leading one, ties to even, in integers."""
    bits, dropped = numbers.view(np.uint64), np.uint64(52 - kept)
    low, odd = bits & ((np.uint64(1) << dropped) - np.uint64(1)), bits >> dropped & np.uint64(1)
    middle = np.uint64(1) << dropped - np.uint64(1)
    up = (low > middle) | ((low == middle) & (odd == 1))
    return (((bits >> dropped) + up.astype(np.uint64)) << dropped).view(np.float64)


def tensor(numbers):
    return torch.from_numpy(numbers)


def show(name, kept, ways):
    beside = np.array([1 + 2.0 ** -(kept + 1) + 2.0**-40])
    large = uniform[uniform > 2.0**-14]  # float16 has fewer bits below
    for way, cast in ways.items():
        wrong = np.count_nonzero(cast(large).astype(np.float64) != nearest(large, kept))
        print(f"{name}, {way}: {wrong} not the nearest, {cast(beside).astype(np.float64)[0]}")


half = {
    "torch half()": lambda x: tensor(x).half().numpy(),
    "torch tensor(dtype=)": lambda x: torch.tensor(x.tolist(), dtype=torch.float16).numpy(),
    "torch copy_()": lambda x: torch.empty(len(x), dtype=torch.float16).copy_(tensor(x)).numpy(),
    "polars": lambda x: pl.Series(x).cast(pl.Float16).to_numpy(),
    "numpy": lambda x: x.astype(np.float16),
    "pyarrow": lambda x: np.asarray(pa.array(x).cast(pa.float16(), safe=False)),
    "numpy over float32": lambda x: x.astype(np.float32).astype(np.float16),
}
brain = {
    "torch bfloat16()": lambda x: tensor(x).bfloat16().double().numpy(),
    "ml_dtypes": lambda x: x.astype(ml_dtypes.bfloat16),
}
show("float16", 10, half)
show("bfloat16", 7, brain)
single = uniform.astype(np.float32)
same = np.array_equal(tensor(single).half().numpy(), single.astype(np.float16))
print(f"float32 to float16 by torch and by numpy: {'equal' if same else 'different'}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
float16, torch half(): 76 not the nearest, 1.0
float16, torch tensor(dtype=): 76 not the nearest, 1.0
float16, torch copy_(): 76 not the nearest, 1.0
float16, polars: 76 not the nearest, 1.0
float16, numpy: 0 not the nearest, 1.0009765625
float16, pyarrow: 0 not the nearest, 1.0009765625
float16, numpy over float32: 76 not the nearest, 1.0
bfloat16, torch bfloat16(): 12 not the nearest, 1.0
bfloat16, ml_dtypes: 0 not the nearest, 1.0078125
float32 to float16 by torch and by numpy: equal
EXPECTED
