"""Sums in the order of the ranks: `python -m tests.ranks COUNT tests.distributed.sums`; a rank that is wrong dies."""

from __future__ import annotations

import torch
import torch.distributed as dist

from deterministic.distributed.reduction import all_gather, average, tree_sum

from ..ranks import meet


def main() -> None:
    torch.set_num_threads(1)
    meet()
    rank, count = dist.get_rank(), dist.get_world_size()
    differing = 0
    for length in (1, 2, 3, 7, 1000, 4099):
        for dtype in (torch.float32, torch.bfloat16):
            own = torch.randn(length, generator=torch.Generator().manual_seed(rank)).to(dtype)
            everyones = torch.empty(count * length, dtype=dtype)
            all_gather(everyones, own)
            rows = everyones.view(count, -1)
            average(own, dist.group.WORLD)
            assert torch.equal(own, tree_sum(rows) / count), (length, dtype)
            differing += not torch.equal(own, tree_sum(rows.flip(0).roll(1, 0)) / count)
    assert differing or count == 2, "another order has another sum: else this would show nothing"
    dist.barrier()
    dist.destroy_process_group()
