"""Entropy in samples: the watch reaches the workers, and with "seed" a sample does not depend on them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from deterministic import make_loader, reproducible
from deterministic.errors import EntropyError


class Unseeded:
    """Makes generators of its own for each sample, twice at one line."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        made: list[Any] = [np.random.default_rng() for _ in range(2)]
        return torch.tensor([one.random() for one in [*made, random.Random()]])


class Reseeding(Unseeded):
    def __getitem__(self, index: int) -> torch.Tensor:
        random.seed()
        return torch.tensor(index)


def announce(worker_id: int) -> None:
    """Do what a user's worker_init_fn does: here it changes what is drawn."""
    random.seed(worker_id)


pytestmark = pytest.mark.forks

WORKERS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2, "multiprocessing_context": "fork"},
    {"num_workers": 1, "multiprocessing_context": "spawn"},
]


def test_samples_that_make_unseeded_generators_do_not_depend_on_the_workers() -> None:
    found = []
    for workers in WORKERS:
        with reproducible(1, entropy="seed"):
            loader = make_loader(Unseeded(), batch_size=3, shuffle=True, **workers)
            found.append(torch.cat([*loader, *loader]))
            assert any(torch.equal(loader.replay(0, 2), sample) for sample in found[-1][:6])
    assert all(torch.equal(one, found[0]) for one in found)
    assert len(found[0].unique()) == found[0].numel()  # in two epochs of six samples no number comes twice


def test_the_watch_reaches_the_workers() -> None:
    for dataset, workers in ((Reseeding(), WORKERS[0]), (Unseeded(), WORKERS[1]), (Reseeding(), WORKERS[2])):
        with reproducible(1, entropy="raise"), pytest.raises(EntropyError, match="no seed decides"):
            next(iter(make_loader(dataset, **workers)))


def test_the_spawned_workers_of_a_plain_loader_watch_as_forked_ones_do() -> None:
    found = []
    for method in ("fork", "spawn"):
        with reproducible(1, entropy="seed"):
            of_workers: Any = {"num_workers": 1, "multiprocessing_context": method, "worker_init_fn": announce}
            loader: Any = DataLoader(Unseeded(), **of_workers)  # type: ignore[arg-type]
            found.append(torch.cat([*loader]))
            assert loader.worker_init_fn is announce
    assert torch.equal(*found)


def test_the_forked_workers_of_a_plain_loader_repeat_and_draw_other_numbers_each() -> None:
    def found(epochs: int) -> torch.Tensor:
        with reproducible(1, entropy="seed"):
            loader: Any = DataLoader(Unseeded(), num_workers=2, multiprocessing_context="fork")  # type: ignore[arg-type]
            return torch.cat([sample for _ in range(epochs) for sample in loader])

    first = found(2)
    assert torch.equal(found(1), first[:6])
    assert len(first.unique()) == first.numel()
