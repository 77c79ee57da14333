#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): with deterministic algorithms on, memory of quantized tensors stays as it was found,
# and an empty tensor of 4-bit floats cannot be made at all.
#
# torch.utils.deterministic.fill_uninitialized_memory says that what torch.empty and its relatives return is filled then
# (NaN, or the largest integer). at::native::empty_affine_quantized and its per-channel sister fill nothing: what they
# return has the bytes of whatever was freed before. quantize_dynamic makes and packs such a tensor for each layer, in
# the layer's constructor, before the real weights replace it: so a reader of all operations sees another input in each
# run. And fill_empty_deterministic_, which does fill, is not compiled for Float4_e2m1fn_x2 (two values a byte, as NVFP4
# and MXFP4 weights have them), so torch.empty raises there as soon as the switch is on.
#
# What it prints:
#   filled with the largest integer, after other bytes were freed: int8 True, qint8 False, qint8 per channel False
#   torch.empty(8, dtype=torch.float4_e2m1fn_x2): NotImplementedError; with the filling off: [8]
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM'
import sys

import torch

torch.use_deterministic_algorithms(True)
assert torch.utils.deterministic.fill_uninitialized_memory
COUNT = 1 << 16
MAKE = {
    "int8": lambda: torch.empty(COUNT, dtype=torch.int8),
    "qint8": lambda: torch._empty_affine_quantized([COUNT], scale=1.0, zero_point=0, dtype=torch.qint8).int_repr(),
    "qint8 per channel": lambda: torch._empty_per_channel_affine_quantized(
        [COUNT], scales=torch.ones(COUNT), zero_points=torch.zeros(COUNT), axis=0, dtype=torch.qint8
    ).int_repr(),
}
found = {}
for name, make in MAKE.items():
    freed = [torch.full((COUNT,), 85, dtype=torch.int8) for _ in range(8)]
    del freed
    found[name] = bool((make() == 127).all())
what = ", ".join(f"{name} {is_filled}" for name, is_filled in found.items())
print("filled with the largest integer, after other bytes were freed:", what)

try:
    torch.empty(8, dtype=torch.float4_e2m1fn_x2)
    said = "nothing"
except NotImplementedError as error:
    said = type(error).__name__
torch.utils.deterministic.fill_uninitialized_memory = False
shape = [*torch.empty(8, dtype=torch.float4_e2m1fn_x2).shape]
print(f"torch.empty(8, dtype=torch.float4_e2m1fn_x2): {said}; with the filling off: {shape}")
sys.exit((*found.values(), said, shape) != (True, False, False, "NotImplementedError", [8]))
PROGRAM
