"""How long Lightning takes from `trainer.fit(ckpt_path=...)` to the first step within an epoch of a million."""

from __future__ import annotations

import logging
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from deterministic import make_loader, reproducible
from deterministic.integrations.lightning import ExactResume

from .loaders import BATCH_SIZE
from .resume import LENGTH, PLACES
from .timing import in_turn, median_ratio

OURS, OWN = "make_loader and ExactResume", "DataLoader, Lightning's own resume"


class _Timed(pl.LightningModule):
    """Notes when its first step begins."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.first_step = 0.0

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        self.first_step = self.first_step or time.perf_counter()
        return self.weight * batch.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def first_steps(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Return milliseconds to the first step, by kind and by how much of the epoch is behind."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    places = {f"{place:.0%}": max(1, int(place * LENGTH) // BATCH_SIZE) for place in PLACES[1:]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in (OURS, OWN):
            for name, behind in places.items():
                with reproducible(seed=0, deterministic=False):
                    # Saved within the epoch: Lightning takes one that is saved after the end for done.
                    saving = ModelCheckpoint(folder, f"{kind}, {name}", every_n_train_steps=behind, save_top_k=-1)
                    _trainer(kind, [saving], max_steps=behind + 1).fit(_Timed(), _loader(kind))
        trials = {
            f"{kind}, {name}": partial(_first_step, folder / f"{kind}, {name}.ckpt", kind, behind)
            for kind in (OURS, OWN)
            for name, behind in places.items()
        }
        seconds = in_turn(trials, rounds=rounds)
    return {
        "milliseconds": {name: min(taken) * 1e3 for name, taken in seconds.items()},
        "ratio of 90 % to 10 %": {
            kind: median_ratio(seconds[f"{kind}, 90%"], seconds[f"{kind}, 10%"]) for kind in (OURS, OWN)
        },
    }


def _first_step(path: Path, kind: str, behind: int) -> float:
    with reproducible(seed=0, deterministic=False):
        module = _Timed()
        started = time.perf_counter()
        _trainer(kind, [], max_steps=behind + 1).fit(module, _loader(kind), ckpt_path=str(path))
        return module.first_step - started


def _trainer(kind: str, callbacks: list[Any], *, max_steps: int) -> pl.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    exact = [ExactResume()] if kind == OURS else []
    quiet["enable_checkpointing"] = bool(callbacks)
    return pl.Trainer(accelerator="cpu", max_epochs=1, max_steps=max_steps, callbacks=[*callbacks, *exact], **quiet)


def _loader(kind: str) -> Any:
    data: Any = range(LENGTH)
    if kind == OURS:
        return make_loader(data, batch_size=BATCH_SIZE, shuffle=True)
    return DataLoader(data, BATCH_SIZE, shuffle=True)
