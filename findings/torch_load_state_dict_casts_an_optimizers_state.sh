#!/usr/bin/env bash
# torch 2.13.0 (CPU), transformers 5.23.0 (numpy 2.4.6, Python 3.11): NAdam of float64 weights, and Adafactor of bfloat16
# ones, do not go on as they were from their own state_dict.
#
# Optimizer.load_state_dict gives each tensor of the state the type of its parameter; "step" alone is left out, since it
# once was rounded so. torch's NAdam keeps a product of its momenta in float32 and loads it as float64, in which it then
# goes on to be multiplied, or as bfloat16. The Adafactor of transformers (optim="adafactor" in its Trainer) keeps its
# moments in float32 for bfloat16 weights, to have their digits, and gets them back rounded to eight bits. Nothing is
# said; the weights after a resume are others than without. Adam's state has the type of its weights.
# Put the state of the checkpoint itself back after loading: optimizer.state[parameter][name] = saved.
#
# What it prints: of 20 steps, a resume, and 50 more, and of the same without a resume.
#   NAdam, float32: nothing cast; the same weights
#   NAdam, float64: mu_product cast from float32 to float64; other weights
#   NAdam, bfloat16: mu_product cast from float32 to bfloat16; the same weights
#   Adafactor, float32: nothing cast; the same weights
#   Adafactor, bfloat16: RMS, exp_avg_sq_col, exp_avg_sq_row cast from float32 to bfloat16; other weights
#   Adam, bfloat16: nothing cast; the same weights
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 transformers==5.23.0

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import io

import torch
from transformers.optimization import Adafactor

kinds = {
    "NAdam": lambda weights: torch.optim.NAdam(weights, lr=1e-2),
    "Adafactor": lambda weights: Adafactor(weights, lr=1e-2, relative_step=False, scale_parameter=False),
    "Adam": lambda weights: torch.optim.Adam(weights, lr=1e-2),
}


def name(dtype):
    return str(dtype).removeprefix("torch.")


def run(kind, dtype):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(64, 64).to(dtype))
    whole = kinds[kind]([weight])
    for _ in range(20):
        weight.grad = torch.randn(64, 64).to(dtype)
        whole.step()

    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    again = torch.nn.Parameter(weight.detach().clone())
    resumed = kinds[kind]([again])
    resumed.load_state_dict(torch.load(file))
    before, after = whole.state[weight], resumed.state[again]
    tensors = sorted(key for key, value in before.items() if torch.is_tensor(value))
    cast = {key: (name(before[key].dtype), name(after[key].dtype)) for key in tensors}
    cast = {key: types for key, types in cast.items() if types[0] != types[1]}
    types = " and ".join(f"from {a} to {b}" for a, b in sorted(set(cast.values())))

    for _ in range(50):
        gradient = torch.randn(64, 64).to(dtype)
        weight.grad, again.grad = gradient.clone(), gradient.clone()
        whole.step()
        resumed.step()
    found = "the same" if torch.equal(weight, again) else "other"
    print(f"{kind}, {name(dtype)}: {', '.join(cast) + ' cast ' + types if cast else 'nothing cast'}; {found} weights")


for dtype in (torch.float32, torch.float64, torch.bfloat16):
    run("NAdam", dtype)
run("Adafactor", torch.float32)
run("Adafactor", torch.bfloat16)
run("Adam", torch.bfloat16)
PROGRAM
cmp - said <<'EXPECTED'
NAdam, float32: nothing cast; the same weights
NAdam, float64: mu_product cast from float32 to float64; other weights
NAdam, bfloat16: mu_product cast from float32 to bfloat16; the same weights
Adafactor, float32: nothing cast; the same weights
Adafactor, bfloat16: RMS, exp_avg_sq_col, exp_avg_sq_row cast from float32 to bfloat16; other weights
Adam, bfloat16: nothing cast; the same weights
EXPECTED
