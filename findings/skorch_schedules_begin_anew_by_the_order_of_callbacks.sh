#!/usr/bin/env bash
# skorch 1.4.0, torch 2.13.0 (CPU; numpy 2.4.6, Python 3.11): a training that LoadInitState resumes goes through its
# learning rates again from the first one, if that callback stands after LRScheduler.
#
# A schedule of skorch knows where it is by the history of the net, which is read when the training begins.
# LoadInitState loads the history, the optimizer and the weights then as well, and callbacks run in the order in which
# they were given: where LRScheduler comes first, it sees no history and starts over, with the loaded rate for one
# epoch more, while history, optimizer and the printed epochs go on. Nothing is said, and the documentation of
# LoadInitState names no order; its example puts it last. partial_fit in the same process goes on as it should. Put
# LoadInitState before LRScheduler.
#
# What it prints: the learning rate of each epoch, of six in one training, and of three and three; and whether the
# weights at the end are those of the one training.
#   StepLR: 0.5 0.5 0.25 0.25 0.125 0.125
#     partial_fit: 0.5 0.5 0.25 0.25 0.125 0.125, the same weights
#     resumed, LoadInitState first: 0.5 0.5 0.25 0.25 0.125 0.125, the same weights
#     resumed, LRScheduler first: 0.5 0.5 0.25 0.25 0.25 0.125, other weights
#   CosineAnnealingLR: 0.5 0.467 0.375 0.25 0.125 0.0335
#     partial_fit: 0.5 0.467 0.375 0.25 0.125 0.0335, the same weights
#     resumed, LoadInitState first: 0.5 0.467 0.375 0.25 0.125 0.0335, the same weights
#     resumed, LRScheduler first: 0.5 0.467 0.375 0.25 0.233 0.188, other weights
#   LambdaLR: 0.5 0.25 0.167 0.125 0.1 0.0833
#     partial_fit: 0.5 0.25 0.167 0.125 0.1 0.0833, the same weights
#     resumed, LoadInitState first: 0.5 0.25 0.167 0.125 0.1 0.0833, the same weights
#     resumed, LRScheduler first: 0.5 0.25 0.167 0.125 0.25 0.167, other weights
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 skorch==1.4.0

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import shutil

import numpy as np
import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, Checkpoint, LoadInitState, LRScheduler

rows = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)


class Rates(Callback):
    def on_epoch_begin(self, net, **kwargs):
        net.history.record("rate", net.optimizer_.param_groups[0]["lr"])


def net(epochs, *callbacks):
    torch.manual_seed(0)
    return NeuralNetRegressor(
        torch.nn.Linear(5, 1),
        max_epochs=epochs,
        lr=0.5,
        optimizer=torch.optim.SGD,
        iterator_train__shuffle=False,
        train_split=None,
        verbose=0,
        callbacks=[*callbacks, Rates()],
    )


def show(policy, **settings):
    def schedule():
        return LRScheduler(policy=policy, **settings)

    def tell(name, found, whole=None):
        rates = " ".join(f"{rate:.3g}" for rate in found.history[:, "rate"])
        if whole is None:
            print(f"{name}: {rates}")
        else:
            same = torch.equal(found.module_.weight, whole.module_.weight)
            print(f"  {name}: {rates}, {'the same' if same else 'other'} weights")

    whole = net(6, schedule()).fit(rows, rows[:, :1])
    tell(policy, whole)
    half = net(3, schedule()).fit(rows, rows[:, :1])
    tell("partial_fit", half.partial_fit(rows, rows[:, :1]), whole)

    shutil.rmtree("checkpoint", ignore_errors=True)
    checkpoint = Checkpoint(dirname="checkpoint", monitor=None)
    net(3, schedule(), checkpoint).fit(rows, rows[:, :1])
    load = LoadInitState(checkpoint)
    for name, order in (("LoadInitState", (load, schedule())), ("LRScheduler", (schedule(), load))):
        tell(f"resumed, {name} first", net(3, *order).fit(rows, rows[:, :1]), whole)


show("StepLR", step_size=2, gamma=0.5)
show("CosineAnnealingLR", T_max=6)
show("LambdaLR", lr_lambda=lambda epoch: 1 / (1 + epoch))
PROGRAM
cmp - said <<'EXPECTED'
StepLR: 0.5 0.5 0.25 0.25 0.125 0.125
  partial_fit: 0.5 0.5 0.25 0.25 0.125 0.125, the same weights
  resumed, LoadInitState first: 0.5 0.5 0.25 0.25 0.125 0.125, the same weights
  resumed, LRScheduler first: 0.5 0.5 0.25 0.25 0.25 0.125, other weights
CosineAnnealingLR: 0.5 0.467 0.375 0.25 0.125 0.0335
  partial_fit: 0.5 0.467 0.375 0.25 0.125 0.0335, the same weights
  resumed, LoadInitState first: 0.5 0.467 0.375 0.25 0.125 0.0335, the same weights
  resumed, LRScheduler first: 0.5 0.467 0.375 0.25 0.233 0.188, other weights
LambdaLR: 0.5 0.25 0.167 0.125 0.1 0.0833
  partial_fit: 0.5 0.25 0.167 0.125 0.1 0.0833, the same weights
  resumed, LoadInitState first: 0.5 0.25 0.167 0.125 0.1 0.0833, the same weights
  resumed, LRScheduler first: 0.5 0.25 0.167 0.125 0.25 0.167, other weights
EXPECTED
