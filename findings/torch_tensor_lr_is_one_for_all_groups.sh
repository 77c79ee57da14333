#!/usr/bin/env bash
# torch 2.13.0 (Python 3.11): a learning rate that is a tensor is one for all groups, and a schedule treats it so.
#
# SGD([{"params": a}, {"params": b}], lr=torch.tensor(0.1)) puts this one tensor into both groups (setdefault() in
# Optimizer.add_param_group), and a schedule writes into it with fill_() (_update_param_group_val in lr_scheduler.py). A
# schedule with a value for each group leaves the last group's in all of them: the groups of LambdaLR, CyclicLR and
# OneCycleLR train with another rate than with lr=0.1. ReduceLROnPlateau reduces once for each group: by factor ** 2
# with two groups, as weight decay and none make. Two optimizers made with one tensor are scheduled twice as well.
# Nothing is raised or warned, and get_last_lr() shows it only to who looks. A saved state keeps the groups joined, and
# one that is loaded into groups with tensors of their own joins these. Give each group a tensor of its own: {"params":
# b, "lr": torch.tensor(0.1)}.
#
# What it prints: the rates of the groups, or of the optimizers, after four steps: with lr a number, with one tensor and
# with a tensor for each group.
#   LambdaLR: number 0.1 0.00625, tensor 0.00625 0.00625, a tensor each 0.1 0.00625
#   CyclicLR: number 0.3 0.8, tensor 0.8 0.8, a tensor each 0.3 0.8
#   OneCycleLR: number 0.5 0.05, tensor 0.05 0.05, a tensor each 0.5 0.05
#   ReduceLROnPlateau: number 0.0125 0.0125, tensor 0.001563 0.001563, a tensor each 0.0125 0.0125
#   two optimizers, ExponentialLR: number 0.00625 0.00625, tensor 0.000391 0.000391, a tensor each 0.00625 0.00625
#   a state that was saved with one tensor, loaded into groups with a tensor each: one tensor
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
cat >program.py <<'PROGRAM'
import io

import torch
from torch.optim import SGD, lr_scheduler


def parameters():
    return [torch.nn.Parameter(torch.ones(1))]


def groups(rate, each):
    made = [{"params": parameters()} for _ in range(2)]
    if each:
        made = [{**group, "lr": torch.tensor(0.1)} for group in made]
    return SGD(made, lr=rate)


def step(optimizers, schedules):
    for _ in range(4):
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            plateau = isinstance(schedule, lr_scheduler.ReduceLROnPlateau)
            schedule.step(1.0) if plateau else schedule.step()
    return " ".join(f"{round(float(group['lr']), 6):g}" for one in optimizers for group in one.param_groups)


def in_groups(make):
    def after(rate, each):
        optimizer = groups(rate, each)
        return step([optimizer], [make(optimizer)])

    return after


def in_two(rate, each):
    optimizers = [SGD(parameters(), lr=torch.tensor(0.1) if each else rate) for _ in range(2)]
    return step(optimizers, [lr_scheduler.ExponentialLR(one, 0.5) for one in optimizers])


kinds = {
    "LambdaLR": in_groups(lambda one: lr_scheduler.LambdaLR(one, [lambda epoch: 1.0, lambda epoch: 0.5**epoch])),
    "CyclicLR": in_groups(lambda one: lr_scheduler.CyclicLR(one, [0.1, 0.2], [0.3, 0.8], 4, cycle_momentum=False)),
    "OneCycleLR": in_groups(
        lambda one: lr_scheduler.OneCycleLR(one, [0.5, 0.05], total_steps=10, pct_start=0.5, cycle_momentum=False)
    ),
    "ReduceLROnPlateau": in_groups(lambda one: lr_scheduler.ReduceLROnPlateau(one, factor=0.5, patience=0)),
    "two optimizers, ExponentialLR": in_two,
}
for name, after in kinds.items():
    number, tensor, each = after(0.1, False), after(torch.tensor(0.1), False), after(0.1, True)
    print(f"{name}: number {number}, tensor {tensor}, a tensor each {each}")

file = io.BytesIO()
torch.save(groups(torch.tensor(0.1), False).state_dict(), file)
file.seek(0)
loaded = groups(0.1, True)
loaded.load_state_dict(torch.load(file))
first, second = (group["lr"] for group in loaded.param_groups)
found = "one tensor" if first is second else "a tensor each"
print(f"a state that was saved with one tensor, loaded into groups with a tensor each: {found}")
PROGRAM
"$work/venv/bin/python" program.py 2>&1 | tee said
cmp - said <<'EXPECTED'
LambdaLR: number 0.1 0.00625, tensor 0.00625 0.00625, a tensor each 0.1 0.00625
CyclicLR: number 0.3 0.8, tensor 0.8 0.8, a tensor each 0.3 0.8
OneCycleLR: number 0.5 0.05, tensor 0.05 0.05, a tensor each 0.5 0.05
ReduceLROnPlateau: number 0.0125 0.0125, tensor 0.001563 0.001563, a tensor each 0.0125 0.0125
two optimizers, ExponentialLR: number 0.00625 0.00625, tensor 0.000391 0.000391, a tensor each 0.00625 0.00625
a state that was saved with one tensor, loaded into groups with a tensor each: one tensor
EXPECTED
