"""Trainer trainings that are killed and resumed; `python -m` it with a folder.

An epoch has 6 batches, and a checkpoint comes after every second step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from deterministic import make_loader, reproducible
from deterministic.integrations.transformers import TrainerLoader

from .children import Augmented, Cases, kill, network, run


class Model(torch.nn.Module):
    """Returns a loss, as the models of Transformers do."""

    def __init__(self, kill_in: int | None) -> None:
        super().__init__()
        self.model = network()
        self.kill_in = kill_in
        self.steps = 0

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.steps == self.kill_in:
            kill()
        self.steps += 1
        return {"loss": (self.model(rows[:, :3]).squeeze(1) - rows[:, 3]).square().mean()}


def collate(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"rows": torch.stack(rows)}


class ExactTrainer(Trainer):  # type: ignore[misc, unused-ignore]
    """The recipe."""

    def get_train_dataloader(self) -> Any:
        dataset: Any = self.train_dataset
        more: dict[str, Any] = {"shuffle": True}
        if self.args.run_name == "sampler":
            more = {"sampler": torch.utils.data.RandomSampler(range(len(dataset)))}
        loader = make_loader(
            dataset,
            batch_size=self.args.per_device_train_batch_size,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            **more,
        )
        return loader if self.args.run_name == "bare" else TrainerLoader(loader)


def train(
    folder: Path,
    ckpt_path: str | None = None,
    *,
    exact: bool = True,
    name: str = "exact",
    workers: int = 0,
    accumulate: int = 1,
    kill_in: int | None = None,
) -> dict[str, Any]:
    """Train, and return what has come out."""
    with reproducible(seed=3) as scope:
        model = Model(kill_in)
        arguments = TrainingArguments(
            str(folder),
            run_name=name,
            per_device_train_batch_size=4,
            num_train_epochs=2,
            learning_rate=0.05,
            gradient_accumulation_steps=accumulate,
            dataloader_num_workers=workers,
            save_strategy="steps",
            save_steps=1 if accumulate > 1 else 2,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
        )
        kind = ExactTrainer if exact else Trainer
        trainer: Any = kind(model, arguments, data_collator=collate, train_dataset=Augmented())
        trainer.train(resume_from_checkpoint=ckpt_path)
        return {
            "model": dict(model.state_dict()),
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.lr_scheduler.state_dict(),
            "generators": scope.state_dict(),
            "steps": trainer.state.global_step,
        }


def last(folder: Path) -> str | None:
    """Return the last checkpoint."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return str(found[-1]) if found else None


CASES: Cases = {
    "exact": ({}, (1, 3, 6)),
    "workers": ({"workers": 2}, (9,)),
    "sampler": ({"name": "sampler"}, (9,)),
    "accumulated": ({"accumulate": 4}, (4, 10)),
    "bare": ({"name": "bare"}, (3,)),
    "own": ({"exact": False}, (3, 6)),
    "own workers": ({"exact": False, "workers": 2}, (3,)),
}

if __name__ == "__main__":
    run(train, last, CASES)
