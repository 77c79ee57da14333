#!/usr/bin/env bash
# pytorch-lightning 2.6.6 (torch 2.13.0, Python 3.11): with max_steps, a fit that goes on after an epoch skips the next.
#
# ModelCheckpoint saves at the end of each epoch, by default. A fit that goes on from such a file with max_epochs alone
# trains as the whole fit would have. Once max_steps is set, even to more steps than are ever made, the loop takes the
# finished epoch for one that was cut off (the setter of _FitLoop.restarting in loops/fit_loop.py), "ends" it and counts
# it twice. The sampler's next epoch is left out: the fit begins with the one after it, so no later epoch has the order
# of the whole fit, and max_epochs is reached an epoch too early. Without validation one batch of the epoch left out is
# trained on, with no on_train_epoch_start before it.
#
# What it prints: epochs that the sampler was in, and how many of their four batches were trained on.
#   max_epochs=4: whole 0:4 1:4 2:4 3:4, resumed after two epochs 2:4 3:4
#   max_epochs=4, max_steps=100: whole 0:4 1:4 2:4 3:4, resumed after two epochs 2:1 3:4
#   max_epochs=4, max_steps=100, validation: whole 0:4 1:4 2:4 3:4, resumed after two epochs 3:4
#   max_steps=16, validation: whole 0:4 1:4 2:4 3:4, resumed after two epochs 3:4 4:4
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pytorch-lightning==2.6.6

cd "$work"
cat >program.py <<'PROGRAM'
import sys
from collections import Counter

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, DistributedSampler


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        batches[sampler.epoch] += 1
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class ValidatedNet(Net):
    def validation_step(self, batch, batch_idx):
        pass


def fit(name, net, path=None, **limits):
    global batches, sampler
    batches, data = Counter(), torch.ones(4, 1)
    sampler = DistributedSampler(data, num_replicas=1, rank=0)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(name, "{epoch}", save_top_k=-1)],
        **limits,
    )
    validation = DataLoader(data) if net is ValidatedNet else None
    trainer.fit(net(), DataLoader(data, sampler=sampler), validation, ckpt_path=path)
    return " ".join(f"{epoch}:{count}" for epoch, count in batches.items())


def tell(name, net, **limits):
    whole, resumed = fit(name, net, **limits), fit(name + "2", net, f"{name}/epoch=1.ckpt", **limits)
    print(f"{name}: whole {whole}, resumed after two epochs {resumed}", file=said)


with open(sys.argv[1], "w") as said:
    tell("max_epochs=4", Net, max_epochs=4)
    tell("max_epochs=4, max_steps=100", Net, max_epochs=4, max_steps=100)
    tell("max_epochs=4, max_steps=100, validation", ValidatedNet, max_epochs=4, max_steps=100)
    tell("max_steps=16, validation", ValidatedNet, max_steps=16)
PROGRAM
"$work/venv/bin/python" -W ignore program.py said >log 2>&1 || { cat log; exit 1; }
cat said
cmp - said <<'EXPECTED'
max_epochs=4: whole 0:4 1:4 2:4 3:4, resumed after two epochs 2:4 3:4
max_epochs=4, max_steps=100: whole 0:4 1:4 2:4 3:4, resumed after two epochs 2:1 3:4
max_epochs=4, max_steps=100, validation: whole 0:4 1:4 2:4 3:4, resumed after two epochs 3:4
max_steps=16, validation: whole 0:4 1:4 2:4 3:4, resumed after two epochs 3:4 4:4
EXPECTED
