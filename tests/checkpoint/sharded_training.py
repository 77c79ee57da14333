"""A training with FSDP2: `python -m tests.ranks COUNT tests.checkpoint.sharded_training FOLDER HOW JOB...`."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed.fsdp import fully_shard

from deterministic import Checkpoint, fingerprint, make_loader, reproducible
from deterministic.checkpoint import container

from ..ranks import meet
from .trainings import Noisy


def killed(*_: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def half(file: Any, header: bytes, memories: Any) -> Any:
    file.write(header[: len(header) // 2])
    file.flush()
    killed()


def train(folder: Path, directory: Path, how: str, end: str) -> dict[str, Any]:
    """Train to the end, or until a rank is killed: between two saves, while it writes, or before the main file is."""
    rank, write = torch.distributed.get_rank(), container.write

    def no_main(path: Path, *rest: Any) -> Any:
        return killed() if path.name == "step-00000004.safetensors" else write(path, *rest)

    with reproducible(seed=3):
        layers = [nn.Linear(3, 7), nn.Dropout(0.2), nn.Linear(7, 1)]
        model = nn.Sequential(*layers, *[nn.BatchNorm1d(1)] * (how == "norm"))
        fully_shard(model)
        optimizer = torch.optim.AdamW(model.parameters(), 0.05)
        size = 8 if how == "norm" else 4  # a batch norm needs two samples on each rank
        loader = make_loader(Noisy(), global_batch_size=size, shuffle=True, drop_last=how == "norm")
        objects: dict[str, Any] = {"model": model, "optimizer": optimizer, "loader": loader}
        try:
            checkpoint = Checkpoint(directory, every=2, **objects)
        except ValueError as error:
            return {"refused": str(error)}

        def state() -> list[Any]:
            return [checkpoint.steps, fingerprint([model.state_dict(), optimizer.state_dict()])]

        found: dict[str, Any] = {"start": state()}
        for _ in checkpoint.epochs(2):
            for batch in loader:
                optimizer.zero_grad()
                (model(batch) * torch.rand(1)).square().mean().backward()
                optimizer.step()
                if checkpoint.steps == 3:
                    if end == "between" and rank == 1:
                        killed()
                    if end == "writing" and rank == 1:
                        container.write_pieces = half
                    if end == "main" and rank == 0:
                        container.write = no_main  # type: ignore[assignment]
                checkpoint.step()
                if checkpoint.steps == 2:
                    (folder / f"saved.{rank}.json").write_text(json.dumps(state()))
        checkpoint.close()
        return {**found, "end": [*state(), torch.rand(1).item()]}


def main(place: str, how: str, *jobs: str) -> None:
    folder = Path(place)
    torch.set_num_threads(1)
    meet()
    found = {job: train(folder, folder / ("whole" if job == "whole" else "cut"), how, job) for job in jobs}
    (folder / f"{torch.distributed.get_rank()}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
