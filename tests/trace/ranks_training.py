"""A training that each of two ranks records: `python -m tests.ranks 2 tests.trace.ranks_training FOLDER`."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn

from deterministic import record

from ..ranks import meet


def main(folder: str) -> None:
    torch.set_num_threads(1)
    meet()
    rank = dist.get_rank()
    with record(os.path.join(folder, "a.trace"), "ops+inputs"):
        torch.manual_seed(0)
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            optimizer.zero_grad()
            model(torch.full((2, 3), float(rank + step))).sum().backward()
            optimizer.step()
        total = torch.ones(1) * (rank + 1)
        waiting = dist.all_reduce(total, async_op=True)
        assert waiting is not None
        waiting.wait()
        assert (total * 2).item() == 6.0
    dist.destroy_process_group()
