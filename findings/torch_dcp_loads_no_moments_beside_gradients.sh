#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): an optimizer whose parameters have gradients is loaded without its moments, in silence.
#
# torch.distributed.checkpoint loads in place, so a new optimizer needs a state first: get_state_dict makes one with a step
# that changes nothing. Where a parameter has a gradient already (one backward pass to warm up or to measure, before the
# checkpoint is loaded) it makes none. Then load finds no place for the moments that were saved, leaves them out, and
# neither load nor set_state_dict says so: the model is that of the checkpoint, and AdamW begins anew.
#
# What it prints:
#   without gradients: the model is the saved one: True; moments of 2 of 2 parameters
#   with gradients: the model is the saved one: True; moments of 0 of 2 parameters
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict


def made(seed):
    torch.manual_seed(seed)
    model = torch.nn.Linear(2, 2)
    return model, torch.optim.AdamW(model.parameters())


def backward(model):
    model(torch.ones(1, 2)).sum().backward()


model, optimizer = made(0)
backward(model)
optimizer.step()
saved_model, saved_optimizer = get_state_dict(model, optimizer)
dcp.save({"model": saved_model, "optimizer": saved_optimizer}, checkpoint_id="saved", no_dist=True)

for has_gradients in (False, True):
    again, fresh = made(1)
    if has_gradients:
        backward(again)
    of_model, of_optimizer = get_state_dict(again, fresh)
    dcp.load({"model": of_model, "optimizer": of_optimizer}, checkpoint_id="saved", no_dist=True)
    set_state_dict(again, fresh, model_state_dict=of_model, optim_state_dict=of_optimizer)
    is_same = torch.equal(again.weight, model.weight)
    moments = sum("exp_avg" in fresh.state.get(parameter, {}) for parameter in again.parameters())
    how = "with" if has_gradients else "without"
    print(f"{how} gradients: the model is the saved one: {is_same}; moments of {moments} of 2 parameters")
PROGRAM
cmp - said <<'EXPECTED'
without gradients: the model is the saved one: True; moments of 2 of 2 parameters
with gradients: the model is the saved one: True; moments of 0 of 2 parameters
EXPECTED
