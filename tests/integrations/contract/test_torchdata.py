"""torchdata's own samplers, whose state after a pass means its end, and its nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchdata.nodes
from torch.utils.data import IterableDataset
from torchdata.stateful_dataloader.sampler import BatchSampler, RandomSampler, StatefulDistributedSampler

from deterministic import make_loader, reproducible
from deterministic.errors import ResumeMismatchError
from deterministic.testing import check_sampler, check_stream

from .killed import killed_anywhere

LENGTH = 9


def seeded() -> RandomSampler:
    return RandomSampler(range(LENGTH), generator=torch.Generator().manual_seed(1))


SAMPLERS: dict[str, Callable[[], Any]] = {
    "random": lambda: RandomSampler(range(LENGTH)),
    "random with a generator": seeded,
    "random with replacement": lambda: RandomSampler(range(LENGTH), replacement=True, num_samples=7),
    "distributed": lambda: StatefulDistributedSampler(range(LENGTH), num_replicas=1, rank=0, shuffle=True, seed=4),
    "distributed, one of two": lambda: StatefulDistributedSampler(range(LENGTH + 4), num_replicas=2, rank=1, seed=4),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_of_torchdatas_is_exact(name: str) -> None:
    assert check_sampler(SAMPLERS[name], num_workers=0) == []


def test_a_batch_sampler_of_torchdatas_is_exact() -> None:
    for drop_last in (False, True):
        made = lambda: BatchSampler(seeded(), 2, drop_last)  # noqa: B023, E731
        assert check_sampler(made, is_batched=True, num_workers=0) == []


def test_workers_that_fetch_ahead_change_nothing() -> None:
    assert check_sampler(SAMPLERS["distributed"]) == []


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_killed_training_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    def make() -> Any:
        with reproducible(seed=0):
            return make_loader(range(LENGTH + 4), sampler=SAMPLERS[name](), batch_size=2)

    assert killed_anywhere(make, tmp_path) == {"exact"}


def test_a_sampler_that_drew_another_seed_goes_on_as_the_saved_one_or_is_refused() -> None:
    def make(seed: int) -> Any:
        with reproducible(seed=seed):
            return make_loader(range(LENGTH), sampler=RandomSampler(range(LENGTH)), seed=0)

    one, other = make(1), make(2)
    iterator = iter(one)
    next(iterator)
    with contextlib.suppress(ResumeMismatchError):
        other.load_state_dict(one.state_dict())
        assert list(other) == list(iterator)


class Nodes(IterableDataset[Any]):
    """A pipeline of torchdata.nodes, as its documentation says to use it: through its Loader."""

    def __init__(self) -> None:
        source = torchdata.nodes.IterableWrapper(range(LENGTH))
        self.loader = torchdata.nodes.Loader(torchdata.nodes.Prefetcher(source, prefetch_factor=2))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self.loader.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a node that was copied in part
@pytest.mark.parametrize("stream_state", ["use", "ignore"])
def test_nodes_are_exact(stream_state: str) -> None:
    told = check_stream(Nodes, num_workers=0, stream_state=stream_state)
    assert {line.split()[0] for line in told} <= {"peeked"}  # what has threads cannot be copied
