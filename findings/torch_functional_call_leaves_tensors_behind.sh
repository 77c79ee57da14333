#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): functional_call leaves the tensors that it was given in a module that has two names.
#
# torch.func.functional_call runs a module with other tensors in the place of its parameters, and puts its own back. Where
# one layer stands at two places (layers that are repeated with the same weights), the default tie_weights=True puts the
# tensor in at both names. On the way back the second name finds what the first has put there, and puts that back: the
# layer is left with a plain tensor of the call in the place of its Parameter, which the optimizer goes on to train for
# nobody. So it is with a tensor for each of the two names. With one name and tie_weights=False the layer is as it was.
#
# What it prints:
#   one name, tie_weights=True: the layer has its Parameter: False
#   both names, tie_weights=False: the layer has its Parameter: False
#   one name, tie_weights=False: the layer has its Parameter: True
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
from torch import nn
from torch.func import functional_call

found = []
for name, every, tie in (("one name", False, True), ("both names", True, False), ("one name", False, False)):
    layer = nn.Linear(2, 2, bias=False)
    weight = layer.weight
    model = nn.Sequential(layer, layer)
    named = model.named_parameters(remove_duplicate=not every)
    functional_call(model, {key: one.view_as(one) for key, one in named}, torch.ones(1, 2), tie_weights=tie)
    found.append(layer.weight is weight)
    print(f"{name}, tie_weights={tie}: the layer has its Parameter: {found[-1]}")
sys.exit(found != [False, False, True])
PROGRAM
