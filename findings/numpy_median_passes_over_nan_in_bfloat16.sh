#!/usr/bin/env bash
# numpy 2.4.6, ml_dtypes 0.7.0 (Python 3.11): the median of a bfloat16 or float8 array with NaN in it is a number.
#
# ml_dtypes gives numpy the types that JAX and the readers of safetensors hand out. numpy looks for NaN only in types
# that it counts among its inexact ones, and these are not: np.median and np.percentile leave the check out and return
# the value in the middle with the NaN sorted behind all numbers, so each NaN moves the median up. For the same reason
# np.nan_to_num changes nothing, np.nanmean and np.nansum are NaN, np.unique counts each NaN of bfloat16, and np.mean
# sums in the type itself, where a sum stands still once it is 256 (16 in float8_e4m3fn): the mean of a thousand ones
# is a quarter. float16 has all of this. Nothing is raised. That nan_to_num and sums are so is known
# (jax-ml/ml_dtypes#346, #63). Convert first: x.astype(np.float32).
#
# What it prints, of 1, 2, NaN, 4, NaN, 3, and for the mean of a thousand ones.
#   float16: median nan, percentile 25 nan, nanmean 2.5, nan_to_num 0, 5 unique, mean of ones 1
#   float32: median nan, percentile 25 nan, nanmean 2.5, nan_to_num 0, 5 unique, mean of ones 1
#   bfloat16: median 3.5, percentile 25 2.25, nanmean nan, nan_to_num nan, 6 unique, mean of ones 0.255859
#   float8_e4m3fn: median 3.5, percentile 25 2.25, nanmean nan, nan_to_num nan, 6 unique, mean of ones 0.015625
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.7.0

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import ml_dtypes
import numpy as np

for name in ("float16", "float32", "bfloat16", "float8_e4m3fn"):
    x = np.array([1, 2, np.nan, 4, np.nan, 3], dtype=getattr(ml_dtypes, name, name))
    found = {
        "median": np.median(x),
        "percentile 25": np.percentile(x, 25),
        "nanmean": np.nanmean(x),
        "nan_to_num": np.nan_to_num(x)[2],
    }
    said = ", ".join(f"{key} {float(value):g}" for key, value in found.items())
    mean = float(np.mean(np.ones(1000, dtype=x.dtype)))
    print(f"{name}: {said}, {len(np.unique(x))} unique, mean of ones {mean:g}")
PROGRAM
cmp - said <<'EXPECTED'
float16: median nan, percentile 25 nan, nanmean 2.5, nan_to_num 0, 5 unique, mean of ones 1
float32: median nan, percentile 25 nan, nanmean 2.5, nan_to_num 0, 5 unique, mean of ones 1
bfloat16: median 3.5, percentile 25 2.25, nanmean nan, nan_to_num nan, 6 unique, mean of ones 0.255859
float8_e4m3fn: median 3.5, percentile 25 2.25, nanmean nan, nan_to_num nan, 6 unique, mean of ones 0.015625
EXPECTED
