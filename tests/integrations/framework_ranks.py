"""Trainings under Accelerate and Transformers on several ranks: `tests.ranks` runs it with a folder and kinds.

An epoch has 3 batches on two ranks, of which the last is filled up with one sample.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from transformers import Trainer, TrainingArguments

from deterministic import Checkpoint, fingerprint, make_loader, reproducible
from deterministic.errors import ResumeMismatchError
from deterministic.integrations.transformers import TrainerLoader, hf_kwargs

from ..ranks import meet
from .children import Augmented, network
from .transformers_training import collate

EPOCHS, STOPS = 2, (1, 3, 5)


def loss_of(model: Any, rows: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = (model(rows[:, :3]).squeeze(1) - rows[:, 3]).square().mean()
    return loss


class Steps:
    """The parts of a training that steps with Accelerate, with dropout that each rank draws for itself."""

    def __init__(self, accumulate: int = 1) -> None:
        AcceleratorState._reset_state()
        GradientState._reset_state()
        self.accelerator: Any = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
        self.loader: Any = make_loader(Augmented(23), batch_size=4, shuffle=True)
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), 0.05)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    def __call__(self, batch: torch.Tensor) -> None:
        with self.accelerator.accumulate(self.model):
            self.accelerator.backward(loss_of(self.model, batch))
            self.optimizer.step()
            self.optimizer.zero_grad()

    def end(self) -> str:
        return fingerprint([dict(self.model.state_dict()), self.optimizer.state_dict()])


def accelerate(folder: Path, *, stop: int | None = None, resume: bool = False, with_run: bool = False) -> str | None:
    """Train with `save_state`, which saves what is registered on rank 0 alone."""
    with reproducible(seed=3, per_rank=True, num_threads=1) as run:
        steps = Steps()
        steps.accelerator.register_for_checkpointing(steps.loader, *([run] if with_run else []))
        if resume:
            steps.accelerator.load_state(str(folder))
        if stop == 0:
            return "loaded"
        count = 0
        for _ in range(steps.loader.epoch, EPOCHS):
            for batch in steps.loader:
                steps(batch)
                count += 1
                if count == stop:
                    steps.accelerator.save_state(str(folder))
                    steps.accelerator.wait_for_everyone()
                    return None
        return steps.end()


def checkpoint(folder: Path, *, stop: int | None = None, resume: bool = False) -> str | None:
    """Train with a Checkpoint, and resume within an accumulation."""
    with reproducible(seed=3, per_rank=True, num_threads=1):
        steps = Steps(accumulate=2)
        saved = Checkpoint(folder, every=1, model=steps.model, optimizer=steps.optimizer, loader=steps.loader)
        steps.accelerator.step = saved.steps
        for _ in saved.epochs(EPOCHS):
            for batch in steps.loader:
                steps(batch)
                saved.step()
                if saved.steps == stop:
                    return None
        return steps.end()


class Model(torch.nn.Module):
    """Returns a loss, and counts what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self.samples = 0

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        self.samples += len(rows) * self.training
        return {"loss": loss_of(self.model, rows)}


class Bare(Trainer):  # type: ignore[misc, unused-ignore]
    """As the recipe does, and so for the evaluation, which comes after the checkpoint of an epoch's last step."""

    def get_train_dataloader(self) -> Any:
        dataset: Any = self.train_dataset
        return TrainerLoader(make_loader(dataset, batch_size=4, shuffle=True, collate_fn=self.data_collator))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        return TrainerLoader(make_loader(Augmented(23), batch_size=4, collate_fn=self.data_collator))


class Prepared(Bare):
    """With what Accelerate prepares, as Trainer's own methods do."""

    def get_train_dataloader(self) -> Any:
        return self.accelerator.prepare(super().get_train_dataloader())


def transformers(folder: Path, kind: type[Trainer], start: int | None = None) -> tuple[str, int]:
    with reproducible(seed=3, per_rank=True, num_threads=1):
        says_little: dict[str, Any] = {"report_to": [], "disable_tqdm": True, "logging_strategy": "no"}
        arguments = TrainingArguments(
            str(folder),
            num_train_epochs=EPOCHS,
            save_steps=1,
            eval_strategy="epoch",
            use_cpu=True,
            **says_little,
            **hf_kwargs(),
        )
        model = Model()
        trainer: Any = kind(model, arguments, collate, Augmented(23), eval_dataset=Augmented(23))
        trainer.train(resume_from_checkpoint=None if start is None else str(folder / f"checkpoint-{start}"))
        return fingerprint([dict(model.state_dict()), trainer.optimizer.state_dict()]), model.samples


def main(folder: str) -> None:
    meet()
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="0")  # which Accelerate wants, and does not use
    rank, found = torch.distributed.get_rank(), dict[str, Any]()
    for kind in (accelerate, checkpoint):
        whole = kind(Path(folder, kind.__name__))
        ends = []
        for stop in STOPS:
            place = Path(folder, f"{kind.__name__}-{stop}")
            kind(place, stop=stop)
            ends.append(kind(place, resume=True))
        found[kind.__name__] = [end == whole for end in ends]

    accelerate(Path(folder, "run"), stop=1, with_run=True)
    try:
        found["run"] = accelerate(Path(folder, "run"), stop=0, resume=True, with_run=True)
    except ResumeMismatchError as error:
        found["run"] = str(error)

    for trainer in (Bare, Prepared):
        place = Path(folder, trainer.__name__)
        whole_one, samples = transformers(place, trainer)
        ends = [transformers(place, trainer, start)[0] for start in STOPS]
        found[trainer.__name__] = [samples, *(end == whole_one for end in ends)]
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
