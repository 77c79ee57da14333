#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): batch norm writes its running statistics in place without a new version.
#
# Operations in place count up a tensor's _version, by which autograd knows that what it saved was written over, and by
# which other code tells whether a buffer was changed. In training BatchNorm1d writes running_mean and running_var, and
# their version stays; num_batches_tracked of the same call has a new one. So a graph that has saved running_mean is not
# stopped: its gradient is calculated from the statistics after the batch, without an error. With the same written by
# add_(), autograd raises.
#
# What it prints:
#   new versions by one batch: running_mean 0, num_batches_tracked 1; the mean was written: True
#   d/dx of x * running_mean, saved before the batch: that of the mean before it: False, after it: True
#   the same with add_(0.5): RuntimeError
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM'
import sys

import torch

torch.manual_seed(0)
norm, rows = torch.nn.BatchNorm1d(3), torch.randn(8, 3) + 2
watched = norm.running_mean, norm.num_batches_tracked
versions = [one._version for one in watched]
norm(rows)
more = [one._version - version for one, version in zip(watched, versions)]
written = bool(norm.running_mean.any())
print(f"new versions by one batch: running_mean {more[0]}, num_batches_tracked {more[1]}; the mean was written: {written}")

x = torch.ones(3, requires_grad=True)
before = norm.running_mean.clone()
product = x * norm.running_mean
norm(rows)
after = norm.running_mean.clone()
(gradient,) = torch.autograd.grad(product.sum(), x)
held = torch.equal(gradient, before), torch.equal(gradient, after)
print(f"d/dx of x * running_mean, saved before the batch: that of the mean before it: {held[0]}, after it: {held[1]}")

product = x * norm.running_mean
norm.running_mean.add_(0.5)
try:
    torch.autograd.grad(product.sum(), x)
    said = "nothing"
except RuntimeError:
    said = "RuntimeError"
print("the same with add_(0.5):", said)
sys.exit((*more, written, *held, said) != (0, 1, True, False, True, "RuntimeError"))
PROGRAM
