#!/usr/bin/env bash
# torch 2.13.0 (CPU), onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0 (numpy 2.4.6, Python 3.11): exported to ONNX,
# losses, means and averages are others than in torch.
#
# torch.onnx.export translates by onnxscript's library of torch's operations. Some of its translations take arguments
# that they do not use: label_smoothing of cross_entropy, divisor_override of avg_pool2d; scatter_reduce of "mean",
# which ONNX does not have, becomes a scatter where the last value written stands. Others are the formula as it is
# written in a book: log1p and expm1 are log(1 + x) and exp(x) - 1, which are 0 for small x, and logaddexp is
# log(exp(x) + exp(y)), which is infinite from 89 on. signbit is x < 0, so that -0.0 has none. The export succeeds and
# the model runs, neither says a word of it; without those arguments each is right. Compare the outputs of the
# exported model with those of the module.
#
# What it prints: what torch gives, and what onnxruntime gives for the exported module.
#   cross_entropy: torch 1.585; onnxruntime 1.585
#   cross_entropy, label_smoothing=0.3: torch 3.385; onnxruntime 1.585
#   avg_pool2d: torch 6.75; onnxruntime 6.75
#   avg_pool2d, divisor_override=1: torch 27; onnxruntime 6.75
#   scatter_reduce, sum: torch 4 5 1 33 25 1; onnxruntime 4 5 1 33 25 1
#   scatter_reduce, mean: torch 1.333 2.5 1 16.5 8.333 1; onnxruntime 2 4 1 32 16 1
#   log1p: torch 1e-09 -1e-09; onnxruntime 0 0
#   expm1: torch 1e-09 -1e-09; onnxruntime 0 0
#   logaddexp: torch 10.69 20.69 40.69 80.69 160.7 320.7; onnxruntime 10.69 20.69 40.69 80.69 inf inf
#   signbit: torch 1 1; onnxruntime 0 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 \
  onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0

cd "$work"
"$work/venv/bin/python" - 2>log <<'PROGRAM' | tee said
import onnxruntime
import torch
from torch.nn import functional as F

x = torch.tensor([[1.0, 2, 4], [8, 16, 32]])
small = torch.tensor([[1e-9, -1e-9]])
index = torch.tensor([[0, 0, 1], [1, 1, 0]])
ones = torch.ones(2, 3)
target = torch.tensor([0, 2])

cases = {
    "cross_entropy": (lambda x: F.cross_entropy(x, target), x),
    "cross_entropy, label_smoothing=0.3": (lambda x: F.cross_entropy(x, target, label_smoothing=0.3), x),
    "avg_pool2d": (lambda x: F.avg_pool2d(x[None], 2), x),
    "avg_pool2d, divisor_override=1": (lambda x: F.avg_pool2d(x[None], 2, divisor_override=1), x),
    "scatter_reduce, sum": (lambda x: ones.scatter_reduce(1, index, x, "sum"), x),
    "scatter_reduce, mean": (lambda x: ones.scatter_reduce(1, index, x, "mean"), x),
    "log1p": (torch.log1p, small),
    "expm1": (torch.expm1, small),
    "logaddexp": (lambda x: torch.logaddexp(10 * x, 10 * x), x),
    "signbit": (torch.signbit, torch.tensor([-0.0, -1.0])),
}


class Call(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


for name, (function, given) in cases.items():
    torch.onnx.export(Call(function).eval(), (given,), "model.onnx", verbose=False)
    session = onnxruntime.InferenceSession("model.onnx")
    got = session.run(None, {session.get_inputs()[0].name: given.numpy()})[0]
    torchs, onnxs = (" ".join(f"{float(v):.4g}" for v in found.flatten()) for found in (function(given), got))
    print(f"{name}: torch {torchs}; onnxruntime {onnxs}")
PROGRAM
cmp - said <<'EXPECTED'
cross_entropy: torch 1.585; onnxruntime 1.585
cross_entropy, label_smoothing=0.3: torch 3.385; onnxruntime 1.585
avg_pool2d: torch 6.75; onnxruntime 6.75
avg_pool2d, divisor_override=1: torch 27; onnxruntime 6.75
scatter_reduce, sum: torch 4 5 1 33 25 1; onnxruntime 4 5 1 33 25 1
scatter_reduce, mean: torch 1.333 2.5 1 16.5 8.333 1; onnxruntime 2 4 1 32 16 1
log1p: torch 1e-09 -1e-09; onnxruntime 0 0
expm1: torch 1e-09 -1e-09; onnxruntime 0 0
logaddexp: torch 10.69 20.69 40.69 80.69 160.7 320.7; onnxruntime 10.69 20.69 40.69 80.69 inf inf
signbit: torch 1 1; onnxruntime 0 1
EXPECTED
