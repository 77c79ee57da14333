"""Functions that a fresh interpreter imports."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import torch

from deterministic import reproducible


def train(steps: int, data: list[float], *, scale: float) -> torch.Tensor:
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.randn(len(data)))
    optimizer = torch.optim.SGD([weight], lr=scale)
    data.append(0.0)  # the next run must not see it
    for _ in range(steps):
        optimizer.zero_grad()
        (weight * torch.tensor(data[:-1])).square().sum().backward()
        optimizer.step()
    return weight.detach()


@reproducible(seed=1)
def decorated() -> torch.Tensor:
    return torch.rand(2)


def refuse() -> None:
    raise LookupError("nothing there")


class UnlikeItsArguments(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def refuse_unlike() -> None:
    raise UnlikeItsArguments(1, 2)


def tell_conditions(path: Path) -> None:
    import gc
    import os
    import sys
    import time

    from torch.utils.data import DataLoader

    until = time.monotonic() + 60
    while len(sys._current_frames()) == len(threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.001)  # a thread that was started is seen once it has had a turn
    names = ("PYTHONHASHSEED", "MALLOC_PERTURB_", "MALLOC_ARENA_MAX")
    data: Any = range(4)
    path.write_text(
        json.dumps(
            {
                **{name: os.environ.get(name) for name in names},
                "hash": hash("a"),
                "collects": gc.isenabled(),
                "switch interval": sys.getswitchinterval(),
                "workers": [DataLoader(data, num_workers=number).num_workers for number in (0, 1, 2)],
                "listed threads": len(threading.enumerate()),
                "threads": len(sys._current_frames()),
            }
        )
    )
