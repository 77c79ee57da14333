#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): torch.distributed.checkpoint.load leaves a mapping with integer keys with twice as many.
#
# A MultiStepLR keeps its milestones as a Counter of integers, {3: 1, 5: 1}. Saved and loaded into the state of a new one,
# as the tutorials do, it comes back as {3: 1, 5: 1, "3": 1, "5": 1}: names in a checkpoint are texts, and what was saved
# under "3" is put beside what stands under 3. The schedule goes on as before where it is stepped one by one, since 3 is
# still there. A step to a given epoch sorts the milestones, and then raises a TypeError for a text beside a number.
# What had other values under its integer keys than the checkpoint keeps its own there, and nobody says so.
#
# What it prints:
#   saved: {3: 1, 5: 1}
#   loaded: {3: 1, 5: 1, '3': 1, '5': 1}
#   to epoch 4: TypeError
#   counts that were 1 and saved as 7: {3: 1, '3': 7}
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
from torch.optim.lr_scheduler import MultiStepLR


def schedule():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    return MultiStepLR(optimizer, milestones=[3, 5])


saved = schedule().state_dict()
print("saved:", dict(saved["milestones"]))
dcp.save({"schedule": saved}, checkpoint_id="schedule", no_dist=True)

again = schedule()
state = again.state_dict()
dcp.load({"schedule": state}, checkpoint_id="schedule", no_dist=True)
print("loaded:", dict(state["milestones"]))
again.load_state_dict(state)
try:
    again.step(4)
    print("to epoch 4: works")
except TypeError as error:
    print(f"to epoch 4: {type(error).__name__}")

dcp.save({"counts": {3: 7}}, checkpoint_id="counts", no_dist=True)
counts = {3: 1}
dcp.load({"counts": counts}, checkpoint_id="counts", no_dist=True)
print("counts that were 1 and saved as 7:", counts)
PROGRAM
cmp - said <<'EXPECTED'
saved: {3: 1, 5: 1}
loaded: {3: 1, 5: 1, '3': 1, '5': 1}
to epoch 4: TypeError
counts that were 1 and saved as 7: {3: 1, '3': 7}
EXPECTED
