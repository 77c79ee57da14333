"""Lightning trainings that are killed and resumed; `python -m` it with a folder.

An epoch has 6 batches, and a checkpoint comes after every second step.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from deterministic import make_loader, reproducible
from deterministic.integrations.lightning import ExactResume

from .children import Augmented, Cases, kill, network, run


def trainer_with(callbacks: list[pl.Callback], **arguments: Any) -> pl.Trainer:
    """Return a trainer that says little."""
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **{"devices": 1, "max_epochs": 2, **arguments},
    )


class Module(pl.LightningModule):
    """Draws in the model, in the transfer of a batch, and in the dataset."""

    average: torch.Tensor

    def __init__(self, *, kill_in: int | None = None, by_hand: Path | None = None) -> None:
        super().__init__()
        self.model = network()
        self.register_buffer("average", torch.zeros(()), persistent=False)
        self.kill_in, self.by_hand = kill_in, by_hand

    def on_after_batch_transfer(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        return batch + 0.01 * torch.randn(()) if self.trainer.training else batch

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        if self.trainer.fit_loop.total_batch_idx == self.kill_in:
            kill()
        loss: torch.Tensor = (self.model(batch[:, :3]).squeeze(1) - batch[:, 3]).square().mean() + self.average
        self.average.mul_(0.9).add_(loss.detach(), alpha=0.01)
        return loss * (1 + self.average)

    def on_train_batch_end(self, outputs: Any, batch: torch.Tensor, number: int) -> None:
        if self.by_hand is not None:
            self.trainer.save_checkpoint(self.by_hand / f"step={self.trainer.fit_loop.total_batch_idx}.ckpt")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Validated(Module):
    """Is validated, too."""

    def validation_step(self, batch: torch.Tensor, number: int) -> None:
        self.log("loss", (self.model(batch[:, :3]).squeeze(1) - batch[:, 3]).square().mean())


def train(
    folder: Path,
    ckpt_path: Path | str | None = None,
    *,
    exact: bool = True,
    workers: int = 0,
    validate: bool = False,
    plain: bool = False,
    ahead: int = 0,
    trainer: dict[str, Any] | None = None,
    by_hand: bool = False,
    kill_in: int | None = None,
) -> dict[str, Any]:
    """Train, and return what has come out."""
    with reproducible(seed=3) as scope:
        torch.randn(ahead)
        made = (Validated if validate else Module)(kill_in=kill_in, by_hand=folder if by_hand else None)
        data = Augmented()
        make = torch.utils.data.DataLoader if plain else make_loader
        loader: Any = make(data, batch_size=4, shuffle=True, num_workers=workers)
        validation = make_loader(data, batch_size=8) if validate else None
        checkpoints = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=2, save_top_k=-1)
        callbacks = [*[checkpoints] * (not by_hand), *[ExactResume()] * exact]
        fit = trainer_with(callbacks, enable_checkpointing=not by_hand, **(trainer or {}))
        fit.fit(made, loader, validation, ckpt_path=ckpt_path, weights_only=True)
        (optimizer,) = fit.optimizers
        (scheduler,) = fit.lr_scheduler_configs
        return {
            "model": dict(made.state_dict()),
            "average": made.average,
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.scheduler.state_dict(),
            "generators": scope.state_dict(),
            "steps": fit.global_step,
        }


def last(folder: Path) -> Path | None:
    """Return the last checkpoint."""
    return max(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem.split("=")[1]), default=None)


CASES: Cases = {
    "exact": ({}, (1, 3, 6)),
    "workers": ({"workers": 2}, (9,)),
    "accumulated": ({"by_hand": True, "trainer": {"accumulate_grad_batches": 4}}, (2, 6, 9)),
    "validated": ({"validate": True, "trainer": {"val_check_interval": 2}}, (3, 7)),
    "limited": ({"trainer": {"limit_train_batches": 4}}, (4, 7)),
    "own": ({"exact": False}, (3,)),
    "own loader": ({"exact": False, "plain": True}, (3, 6)),
    "own workers": ({"exact": False, "plain": True, "workers": 2}, (3,)),
}

if __name__ == "__main__":
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    run(train, last, CASES)
