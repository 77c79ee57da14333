#!/usr/bin/env bash
# torch 2.13.0 (Python 3.11): under activation checkpointing a spectral norm is recomputed with another weight.
#
# parametrizations.spectral_norm makes a power iteration whenever the weight is read in training mode, as its page says.
# checkpoint() reads it in the forward and again in the recomputation: the gradient is that of other weights than those
# that gave the loss, and the estimate of the norm goes twice as far in each step. checkpoint() restores torch's random
# state, and its determinism_check looks at shapes, types and devices only: nothing is raised, with and without
# use_reentrant, and a training with checkpointing is another one than without. After a while the norm is known well and
# the two steps differ by little, but the trainings stay apart. Not only the recomputation reads: layer.weight.device,
# layer.weight.shape and hasattr(layer, "weight") in training mode make an iteration too, in each step where a log asks.
# weight_norm and orthogonal keep nothing, and give the same under both. layer.parametrizations.weight[0].eval() keeps
# the estimate as it is, in the recomputation too.
#
# What it prints: whether a training with checkpointing has the loss, the gradients and, after twenty steps, the weights
# of one without (float64); and which ways of asking a layer move its estimate.
#   spectral_norm: loss of the first step True, gradients False, weights after 20 steps False
#   weight_norm: loss of the first step True, gradients True, weights after 20 steps True
#   orthogonal: loss of the first step True, gradients True, weights after 20 steps True
#   spectral_norm in eval(): loss of the first step True, gradients True, weights after 20 steps True
#   moves: weight.shape, weight.device, hasattr(); does not: repr(), state_dict(), named_parameters(), deepcopy()
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
cat >program.py <<'PROGRAM'
import copy

import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


def train(norm, frozen=False, reentrant=None):
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(8, 16)), nn.Tanh(), norm(nn.Linear(16, 8))).double()
    if frozen:
        for layer in (model[0], model[2]):
            layer.parametrizations.weight[0].eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = torch.randn(32, 8, dtype=torch.float64, requires_grad=True)
    first = None
    for _ in range(20):
        found = model(rows) if reentrant is None else checkpoint(model, rows, use_reentrant=reentrant)
        loss = (found - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        first = first or (loss.detach(), [one.grad.clone() for one in model.parameters()])
        optimizer.step()
    return first[:1], first[1], [one.detach() for one in model.parameters()]


def close(some, others):
    return all(torch.allclose(one, other, rtol=1e-7, atol=1e-9) for one, other in zip(some, others, strict=True))


cases = {name: (getattr(parametrizations, name), False) for name in ("spectral_norm", "weight_norm", "orthogonal")}
for name, case in (cases | {"spectral_norm in eval()": (parametrizations.spectral_norm, True)}).items():
    plain = train(*case)
    checked = [train(*case, reentrant=reentrant) for reentrant in (False, True)]
    loss, gradients, weights = (
        " ".join(sorted({str(close(plain[part], other[part])) for other in checked})) for part in range(3)
    )
    print(f"{name}: loss of the first step {loss}, gradients {gradients}, weights after 20 steps {weights}")

layer = parametrizations.spectral_norm(nn.Linear(8, 16))
asked = {
    "weight.shape": lambda: layer.weight.shape,
    "weight.device": lambda: layer.weight.device,
    "hasattr()": lambda: hasattr(layer, "weight"),
    "repr()": lambda: repr(layer),
    "state_dict()": lambda: layer.state_dict(),
    "named_parameters()": lambda: list(layer.named_parameters()),
    "deepcopy()": lambda: copy.deepcopy(layer),
}
moving = []
for name, ask in asked.items():
    before = layer.parametrizations.weight[0]._u.clone()
    ask()
    if not torch.equal(before, layer.parametrizations.weight[0]._u):
        moving.append(name)
print(f"moves: {', '.join(moving)}; does not: {', '.join(name for name in asked if name not in moving)}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
spectral_norm: loss of the first step True, gradients False, weights after 20 steps False
weight_norm: loss of the first step True, gradients True, weights after 20 steps True
orthogonal: loss of the first step True, gradients True, weights after 20 steps True
spectral_norm in eval(): loss of the first step True, gradients True, weights after 20 steps True
moves: weight.shape, weight.device, hasattr(); does not: repr(), state_dict(), named_parameters(), deepcopy()
EXPECTED
