#!/usr/bin/env bash
# torch 2.13.0, torchmetrics 1.9.0, numpy 2.4.6 (Python 3.11): a wrapped metric with persistent(True) saves nothing.
#
# Metric.persistent(True) says that the states of a metric are saved in its state_dict(). Of a MultioutputWrapper, a
# MultitaskWrapper, a BootStrapper and a MinMaxMetric it reaches the wrapper alone, which has no states: the metric
# inside is not asked, state_dict() is empty, load_state_dict() of it says that all keys matched, and an evaluation that
# goes on from there counts only what came after. Running saves the values of its window, and not its place in it
# (_num_vals_seen in wrappers/running.py): the next value takes the place of the first. MinMaxMetric has the least and
# the largest value of an experiment as plain attributes, which are saved in no way (an open issue,
# Lightning-AI/torchmetrics#3323); and its reset(), which says "Set max_val and min_val to the initialization bounds",
# sets neither, so that a second run, fold or trial is told the best value of all before it. Call persistent(True) on
# each one of modules(), pickle a Running whole, and make a new MinMaxMetric for each run.
#
# What it prints: the number of saved values after persistent(True), on the metric and on each of its modules(); what a
# resumed evaluation tells, where 1 is due; the extremes of a run with 0.9 and 0.2, and of the next one with 0.6.
#   MeanSquaredError: saved 2, on each 2; due 1, resumed 1, resumed from each 1
#   MultioutputWrapper: saved 0, on each 4; due 1, resumed 4, resumed from each 1
#   MultitaskWrapper: saved 0, on each 2; due 1, resumed 4, resumed from each 1
#   MinMaxMetric: saved 0, on each 2; due 1, resumed 4, resumed from each 1
#   BootStrapper: saved 0, on each 4
#   Running: saved 8, on each 10; due 1, resumed 1.33333, resumed from each 1.33333
#   MinMaxMetric, one run: 0.2 to 0.9, the next after reset(): 0.2 to 0.9; a new one for it: 0.6 to 0.6
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0

cd "$work"
cat >program.py <<'PROGRAM'
import torch
from torchmetrics import MeanMetric, MeanSquaredError, wrappers

zero = torch.zeros(4, 2)


def plain(error):
    return torch.full((4, 2), error), zero


def task(error):
    return {"task": plain(error)[0]}, {"task": zero}


kinds = {
    "MeanSquaredError": (MeanSquaredError, plain, float),
    "MultioutputWrapper": (lambda: wrappers.MultioutputWrapper(MeanSquaredError(), 2), plain, lambda found: found[0]),
    "MultitaskWrapper": (
        lambda: wrappers.MultitaskWrapper({"task": MeanSquaredError()}),
        task,
        lambda found: found["task"],
    ),
    "MinMaxMetric": (lambda: wrappers.MinMaxMetric(MeanSquaredError()), plain, lambda found: found["raw"]),
    "BootStrapper": (lambda: wrappers.BootStrapper(MeanSquaredError(), num_bootstraps=2), plain, None),
    "Running": (lambda: wrappers.Running(MeanSquaredError(), window=4), plain, float),
}


def persistent(metric, each):
    for one in metric.modules() if each else [metric]:
        if hasattr(one, "persistent"):
            one.persistent(True)
    return metric


for name, (make, batch, value) in kinds.items():
    saved, told = [], []
    for each in (False, True):
        metric = persistent(make(), each)
        for error in (0.0, 0.0, 0.0):
            metric.update(*batch(error))
        state = metric.state_dict()
        saved.append(len(state))
        resumed = persistent(make(), each)
        assert str(resumed.load_state_dict(state)) == "<All keys matched successfully>"
        if value:
            for one in (metric, resumed):
                one.update(*batch(2.0))
            due = float(value(metric.compute()))
            told.append(f"{float(value(resumed.compute())):g}")
    said = f"{name}: saved {saved[0]}, on each {saved[1]}"
    print(f"{said}; due {due:g}, resumed {told[0]}, resumed from each {told[1]}" if value else said)


def run(metric, *values):
    metric.reset()
    for value in values:
        metric.reset()
        metric.update(value)
        found = metric.compute()
    return f"{found['min']:.1f} to {found['max']:.1f}"


kept = wrappers.MinMaxMetric(MeanMetric())
first, second = run(kept, 0.9, 0.2), run(kept, 0.6)
new = run(wrappers.MinMaxMetric(MeanMetric()), 0.6)
print(f"MinMaxMetric, one run: {first}, the next after reset(): {second}; a new one for it: {new}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
MeanSquaredError: saved 2, on each 2; due 1, resumed 1, resumed from each 1
MultioutputWrapper: saved 0, on each 4; due 1, resumed 4, resumed from each 1
MultitaskWrapper: saved 0, on each 2; due 1, resumed 4, resumed from each 1
MinMaxMetric: saved 0, on each 2; due 1, resumed 4, resumed from each 1
BootStrapper: saved 0, on each 4
Running: saved 8, on each 10; due 1, resumed 1.33333, resumed from each 1.33333
MinMaxMetric, one run: 0.2 to 0.9, the next after reset(): 0.2 to 0.9; a new one for it: 0.6 to 0.6
EXPECTED
