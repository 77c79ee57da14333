"""Trainings that are spread over ranks, recorded and verified by each: what one of them computes with may differ.

`python -m tests.ranks 2 tests.verify.sharded FOLDER`: of the traces, and of what the verifications said.
"""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from deterministic import current_run, record, reproducible, verify

from ..ranks import meet

KINDS = ("fsdp", "tensor parallel", "ddp")

RANK = 0


def spread(kind: str, mesh: Any) -> Any:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "fsdp":
        return fully_shard(model, mesh=mesh)
    return parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def train(kind: str, mesh: Any, noise: float = 0.0) -> None:
    model = spread(kind, mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(3):
        x = torch.randn(4, 6)
        if RANK == 1 and step == 1:
            x = x * (1 + noise)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def told(report: Any) -> dict[str, Any]:
    return {**json.loads(report.to_json()), "text": str(report)}


def main(folder: str) -> None:
    global RANK
    torch.set_num_threads(1)
    meet()
    RANK = dist.get_rank()
    mesh = init_device_mesh("cpu", (2,))
    said: dict[str, Any] = {}
    for kind in KINDS:
        for name, noise in (("one", 0.0), ("other", 0.0), ("faulty", 0.5)):
            with reproducible(seed=0), record(Path(folder, f"{kind} {name}.trace"), "ops+inputs"):
                train(kind, mesh, noise)
        said[f"{kind} same"] = told(verify(train, kind, mesh, runs=2))
        noises, mesh = count(), init_device_mesh("cpu", (2,))  # which nobody has asked for its hash yet
        said[f"{kind} faulty"] = told(verify(lambda: train(kind, mesh, next(noises)), runs=3))  # noqa: B023

    seen = count()

    def observed_on_one_rank() -> None:
        train("ddp", mesh)
        if RANK == 1:
            current_run().observe("mine", next(seen))

    said["one rank"] = told(verify(observed_on_one_rank, runs=3))
    Path(folder, f"rank{RANK}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


def prepare() -> None:
    """Import what the ranks do, once for both."""
    import torch.distributed.fsdp
    import torch.distributed.tensor.parallel  # noqa: F401

    os.environ["OMP_NUM_THREADS"] = "1"
