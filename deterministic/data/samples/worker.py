"""What runs in a DataLoader's worker process."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from ...sources import SOURCES
from ...trace.recording.seeding import watch
from .isolation import require_twister
from .torch_internals import send_values, set_worker


def seed_worker(worker_id: int) -> None:
    """Seed Python's and numpy's generators of a DataLoader worker from torch's; pass it as `worker_init_fn`.

    For people who keep their own DataLoader. torch seeds its own generator in every worker, with the loader's base
    seed plus the worker's number. Older versions leave `random` and `numpy.random` as they were in the parent, so every
    worker would draw the same from them. The recipe of
    https://docs.pytorch.org/docs/stable/notes/randomness.html#dataloader.

    Args:
        worker_id: The worker's number; the seed comes from `torch.initial_seed()`, which contains it.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


@dataclass
class SeedWorkerThen:
    """`seed_worker`, then the user's own `worker_init_fn`. A class, so that it pickles into spawned workers."""

    worker_init_fn: Callable[[int], None]

    def __call__(self, worker_id: int) -> None:
        seed_worker(worker_id)
        self.worker_init_fn(worker_id)


def prepare_worker(
    threads: int, settings: dict[str, bytes] | None, users: Callable[[int], object] | None, worker_id: int
) -> None:
    """Begin a worker of a loader with keys; a forked one has no `settings`, which it inherits."""
    info: Any = get_worker_info()
    set_worker(dataset=info.dataset.dataset)  # the user's, as they know it, not what stands around it
    if settings is not None:
        restore_settings(settings)
    send_values()
    torch.set_num_threads(threads)
    require_twister()
    if users is not None:
        users(worker_id)


def capture_settings() -> dict[str, bytes]:
    """Return every setting of this process that a spawned worker would not have: the dtype, the flags, the environment.

    Sources registered by the user are left out: the worker has not registered them.
    """
    return {
        source.name: pickle.dumps(source.capture())
        for source in SOURCES
        if source.kind == "setting"
        and source.name != "torch.threads"  # which a worker has of its own: `worker_threads` decides
        and type(source).__module__.startswith(__name__.split(".")[0] + ".")
    }


def restore_settings(settings: dict[str, bytes]) -> None:
    """Put in place, in this process, what `capture_settings` found in another."""
    for source in SOURCES:
        if source.name in settings:
            source.restore(pickle.loads(settings[source.name]))
    watch()  # no scope is open here, but the watch over entropy may have come with the settings
