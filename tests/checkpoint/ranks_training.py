"""A training on several ranks: `python -m tests.ranks COUNT tests.checkpoint.ranks_training FOLDER HOW JOB...`."""

from __future__ import annotations

import json
import os
import random
import signal
import warnings
from pathlib import Path

import torch
import torch.distributed
from torch import nn

from deterministic import Checkpoint, fingerprint, make_loader, reproducible
from deterministic.checkpoint import container
from deterministic.distributed import ordered_reduction

from ..ranks import meet
from .trainings import Interrupted, Noisy


def train(directory: Path, how: str, end: str) -> dict[str, str]:
    """Train to the end, or to step 3: there rank 1 is killed ("die"), all ranks stop ("stop"), or a second save is cut.

    It is cut ("cut") where the ranks have written what is their own, and rank 0 is about to write the main file.
    """
    rank = torch.distributed.get_rank()
    with reproducible(seed=3, per_rank=True):
        torch.manual_seed(0)
        width = 4 if how == "small" else 300
        inner = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(0.2), nn.Linear(width, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a torch to come has another name for broadcast_buffers
            # Each rank keeps statistics of its own; the buckets are small, so that there are several.
            model = nn.parallel.DistributedDataParallel(
                inner, broadcast_buffers=False, bucket_cap_mb=1e-3, find_unused_parameters=how == "wide, fixed order"
            )
        if how == "wide, ordered":
            ordered_reduction(model)
        torch.manual_seed(rank)
        optimizer = torch.optim.AdamW(model.parameters(), 0.05)
        loader = make_loader(Noisy(), batch_size=2, shuffle=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            saved = inner if how == "wide, inner" else model
            checkpoint = Checkpoint(directory, every=2, model=saved, optimizer=optimizer, loader=loader)
        torch.rand(checkpoint.steps + rank)
        for epoch in checkpoint.epochs(3):
            for batch in loader:
                optimizer.zero_grad()
                (model(batch) * torch.rand(1)).square().mean().backward()
                optimizer.step()
                checkpoint.step()
                if checkpoint.steps == 3 and end == "die" and rank == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                if checkpoint.steps == 3 and end == "cut":
                    checkpoint.save()
                    torch.rand(1)  # so what is each rank's own is something else
                    if rank == 0:
                        container.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
                    checkpoint.save()
                if checkpoint.steps == 3 and end == "stop":
                    checkpoint.close()
                    raise Interrupted
            checkpoint.values[f"drawn {epoch}"] = torch.rand(()).item()
        checkpoint.close()
        draws = [torch.rand(2), random.random()]
        return {
            "weights": fingerprint([*model.parameters()]),
            "all": fingerprint(
                [model.state_dict(), optimizer.state_dict(), checkpoint.steps, checkpoint.values, draws]
            ),
            "statistics": fingerprint(inner[1].running_mean),
            "warnings": "\n".join(str(one.message) for one in caught),
        }


def main(place: str, how: str, *jobs: str) -> None:
    folder = Path(place)
    torch.set_num_threads(1)
    meet()
    found: dict[str, dict[str, str]] = {}
    for job in jobs:
        try:
            found[job] = train(folder / ("whole" if job == "whole" else "cut"), how, job)
        except Interrupted:
            continue
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()  # gloo may abort a process of which the others have left the group already
    torch.distributed.destroy_process_group()
