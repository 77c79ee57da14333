"""What the ranks do not agree on: `python -m tests.ranks 2 tests.distributed.refusals FOLDER`."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from deterministic.distributed import ordered_reduction, world_invariant

from ..ranks import meet


def attempts(rank: int) -> dict[str, Callable[[], Any]]:
    """Return what is refused, by name; each is done on both ranks."""

    def wrapped(*more: nn.Module, **arguments: Any) -> DistributedDataParallel:
        return DistributedDataParallel(nn.Sequential(nn.Linear(3, 2), *more), **arguments)

    def hooked() -> DistributedDataParallel:
        model = wrapped()
        model.register_comm_hook(None, lambda state, bucket: None)
        return model

    def call(rows: int, seed: int) -> None:
        model = world_invariant(wrapped())
        torch.manual_seed(seed)
        model(torch.ones(rows, 3)).sum().backward()

    class Counting(nn.Module):
        """One that counts what its ranks have of each class, on one shard each."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.counts: torch.Tensor
            self.register_buffer("counts", torch.zeros(2, dtype=torch.int64))

        def forward(self, rows: torch.Tensor) -> Any:
            self.counts += torch.bincount(rows[:, 0].long(), minlength=2)
            return self.layer(rows)

    def count() -> None:
        model = world_invariant(DistributedDataParallel(Counting()), shards=2)
        model(torch.ones(4, 3))
        model(torch.full((4, 3), float(rank)))

    def copied() -> None:
        model = world_invariant(wrapped(), shards=2)
        twin = copy.deepcopy(model.module)
        assert pickle.loads(pickle.dumps(twin)).state_dict().keys() == twin.state_dict().keys()
        twin(torch.ones(4, 3)).sum().backward()

    return {
        "counts": count,
        "copied": copied,
        "copied whole": lambda: copy.deepcopy(ordered_reduction(wrapped())),
        "shards": lambda: world_invariant(wrapped(), shards=8 if rank else 4),
        "one rank alone": lambda: world_invariant(wrapped(), shards=4 if rank else 3),
        "too few": lambda: world_invariant(wrapped(), shards=1),
        "no power of two": lambda: world_invariant(wrapped(), shards=12),
        "no wrapper": lambda: world_invariant(nn.Linear(1, 1)),
        "a hook": lambda: world_invariant(hooked()),
        "ordered": lambda: world_invariant(ordered_reduction(wrapped())),
        "a hook on one": lambda: world_invariant(hooked() if rank else wrapped()),
        "again": lambda: world_invariant(world_invariant(wrapped())),
        "rows": lambda: call(8 if rank else 4, 0),
        "draws": lambda: call(8, rank),
        "uneven": lambda: call(6, 0),
        "no batch on one": lambda: call(8, 0) if rank else world_invariant(wrapped())(5),
    }


def main(folder: str) -> None:
    torch.set_num_threads(1)
    meet()
    rank = torch.distributed.get_rank()
    told: dict[str, str] = {}
    for name, attempt in attempts(rank).items():
        try:
            attempt()
            told[name] = "done"
        except Exception as error:  # noqa: BLE001 - what it is, is looked at
            told[name] = f"{type(error).__name__}: {error}"
    (Path(folder) / f"{rank}.json").write_text(json.dumps(told))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
