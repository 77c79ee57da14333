"""What runs in a DataLoader's worker process."""

from __future__ import annotations

from collections.abc import Callable


def seed_worker(worker_id: int) -> None:
    """Seed Python's and numpy's generators of a DataLoader worker from torch's; pass it as `worker_init_fn`.

    torch seeds its own generator in every worker, with the loader's base seed plus the worker's number; `random` and
    `numpy.random` it leaves as they were in the parent, so that every worker draws the same from them. The recipe of
    https://docs.pytorch.org/docs/stable/notes/randomness.html#dataloader.

    Args:
        worker_id: The worker's number; the seed comes from `torch.initial_seed()`, which contains it.
    """
    import random

    import numpy as np
    import torch

    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


class SeedWorkerThen:
    """`seed_worker`, then the user's own `worker_init_fn`. A class, so that it pickles into spawned workers."""

    def __init__(self, worker_init_fn: Callable[[int], None]) -> None:
        self.worker_init_fn = worker_init_fn

    def __call__(self, worker_id: int) -> None:
        seed_worker(worker_id)
        self.worker_init_fn(worker_id)
