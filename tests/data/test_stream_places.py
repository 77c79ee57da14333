"""Places in a stream: of workers that are renumbered, that stumble, and that are not what they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from deterministic.errors import ResumeMismatchError

from .datasets import SeekableStream, batches, epochs, loader
from .test_streams import Walk, Walked


class Stumbling(IterableDataset[torch.Tensor]):
    """Its iterator raises once and goes on."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return Stumbler(10)


class Stumbler(Walk):
    def __next__(self) -> torch.Tensor:
        sample = super().__next__()
        if self.at == 4:
            raise KeyError("once")
        return sample


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_raises_once_goes_on(workers: int) -> None:
    iterator = iter(loader(Stumbling(), batch_size=2, num_workers=workers))
    seen = []
    for _ in range(5):
        try:
            seen.append([row[0] for row in next(iterator).tolist()])
        except KeyError:
            seen.append(["error"])
    assert seen == [[1, 2], ["error"], [5, 6], [7, 8], [9, 10]]


class SeedsItself(SeekableStream):
    """Draws from a generator seeded from what torch says of the worker."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        assert info is not None
        for sample in super().__iter__():
            yield sample + info.seed % 1000


def test_a_resumed_worker_has_the_seed_of_the_one_it_stands_for() -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "num_workers": 2}
    (first,) = epochs(loader(SeedsItself(), **arguments), 1)
    iterated = loader(SeedsItself(), **arguments)
    batches(iter(iterated), 3)
    later = loader(SeedsItself(), **arguments)
    later.load_state_dict(iterated.state_dict())
    assert epochs(later, 1) == [first[3:]]


def test_a_state_within_an_epoch_is_of_the_workers_that_the_epoch_has() -> None:
    iterated = loader(SeekableStream(), num_workers=2)
    iterator = iter(iterated)
    batches(iterator, 3)
    iterated.num_workers = 3
    state, rest = iterated.state_dict(), [batch.tolist() for batch in iterator]
    assert state["num_workers"] == 2
    later = loader(SeekableStream(), num_workers=2)
    later.load_state_dict(state)
    assert epochs(later, 1) == [rest]


def test_a_place_of_an_iterator_is_refused_by_one_that_has_none() -> None:
    class Unwalked(Walked):
        def __iter__(self) -> Iterator[torch.Tensor]:
            yield from super().__iter__()

    iterated = loader(Walked())
    batches(iter(iterated), 1)
    later = loader(Unwalked())
    later.load_state_dict(iterated.state_dict())
    with pytest.raises(ResumeMismatchError, match="iterator was"):
        next(iter(later))
