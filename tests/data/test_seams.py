"""What several loaders, copies and wrappers around samplers and streams must not confuse."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, Sampler, SubsetRandomSampler

from deterministic import make_loader
from deterministic.errors import DeterministicError, ResumeMismatchError


class Told(IterableDataset[int]):
    """Reads its epoch at the beginning of a pass, in the body of a generator function."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        yield from [10 * self.epoch + number for number in range(4)]


class ToldMap:
    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return 10 * self.epoch + index


def seen(loader: Any) -> list[Any]:
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("workers", [0, 1])
def test_each_of_two_iterators_over_one_stream_has_its_epoch(workers: int) -> None:
    loader = make_loader(Told(), batch_size=2, seed=0, num_workers=workers)
    assert [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)] == [
        ([0, 1], [10, 11]),
        ([2, 3], [12, 13]),
    ]
    stream = Told()
    one, other = (make_loader(stream, batch_size=2, seed=0, num_workers=workers) for _ in range(2))
    one.set_epoch(3)
    other.set_epoch(1)
    pairs = [(a.tolist()[0], b.tolist()[0]) for a, b in zip(one, other, strict=True)]
    assert pairs == [(30, 10), (32, 12)]


@pytest.mark.parametrize("dataset", [Told, ToldMap])
def test_a_copy_of_a_loader_is_at_the_same_epoch(dataset: Any) -> None:
    loader = make_loader(dataset(), batch_size=4, seed=0)
    seen(loader), seen(loader)
    for other in (copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert other.epoch == loader.epoch == 2
        assert seen(other) == [[20, 21, 22, 23]]


class Seeded(Sampler[int]):
    epoch = 0

    def __init__(self) -> None:
        pass

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = list(range(40))
        random.Random(self.epoch).shuffle(order)
        return iter(order)

    def __len__(self) -> int:
        return 40


class Around(Sampler[int]):
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[int]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)


def test_a_sampler_inside_of_another_that_its_user_tells_the_epoch_is_resumed_between_two() -> None:
    def train(state: Any = None) -> tuple[list[Any], Any]:
        inner = Seeded()
        loader = make_loader(range(40), batch_size=4, sampler=Around(inner), seed=0)
        if state is not None:
            loader.load_state_dict(state)
        found, state = [], None
        for epoch in range(loader.epoch, 3):
            inner.set_epoch(epoch)
            found.append(seen(loader))
            state = state or loader.state_dict()
        return found, state

    whole, state = train()
    assert train(state)[0] == whole[1:]


def test_another_subset_is_refused_between_two_epochs_too() -> None:
    def over(seed: int) -> Any:
        kept = torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:8].tolist()
        return make_loader(range(12), batch_size=2, sampler=SubsetRandomSampler(kept), seed=0)

    loader = over(1)
    seen(loader)
    state, expected = loader.state_dict(), seen(loader)
    same, other = over(1), over(2)
    same.load_state_dict(state)
    assert seen(same) == expected
    other.load_state_dict(state)
    with pytest.raises(ResumeMismatchError, match="does not repeat the indices"):
        seen(other)


def test_methods_that_want_other_arguments_are_not_called() -> None:
    class Wants(Seeded):
        def set_epoch(self, epoch: int, step: int) -> None:  # type: ignore[override]
            raise AssertionError

        def state_dict(self) -> dict[str, int]:
            raise AssertionError

        def load_state_dict(self, state: Any, strict: bool) -> None:
            raise AssertionError

    loader = make_loader(range(40), batch_size=20, sampler=Wants(), seed=0)
    seen(loader)
    resumed = make_loader(range(40), batch_size=20, sampler=Wants(), seed=0)
    resumed.load_state_dict(loader.state_dict())
    assert seen(resumed) == seen(loader)


class GoesOn(Sampler[int]):
    def __init__(self) -> None:
        self.at = self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        while self.at < 12:
            self.at += 1
            yield (self.at * 5 + self.epoch) % 12
        self.at, self.epoch = 0, self.epoch + 1

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at, self.epoch = state["at"], state["epoch"]

    def __len__(self) -> int:
        return 12


@pytest.mark.parametrize("workers", [0, 1])
def test_the_next_pass_of_a_sampler_that_may_go_on_is_not_guessed_within_one(workers: int) -> None:
    loader = make_loader(range(12), batch_size=2, sampler=GoesOn(), seed=0, num_workers=workers)
    expected = [seen(loader) for _ in range(2)]
    loader = make_loader(range(12), batch_size=2, sampler=GoesOn(), seed=0, num_workers=workers)
    first = []
    for batch in loader:
        with pytest.raises(DeterministicError, match="not known yet"):
            loader.peek()
        first.append(batch.tolist())
    assert loader.peek().tolist() == expected[1][0]
    assert [first, seen(loader)] == expected


class Leveled(IterableDataset[int]):
    def __init__(self, level: int) -> None:
        self.level, self.at = level, 0

    def state_dict(self) -> dict[str, int]:
        return {"level": self.level, "at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.level, self.at = state["level"], state["at"]

    def __iter__(self) -> Iterator[int]:
        while self.at < 4:
            self.at += 1
            yield 10 * self.level + self.at
        self.at = 0


@pytest.mark.parametrize("arguments", [{}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_what_a_stream_was_loaded_with_stays_where_it_says_no_place(arguments: dict[str, Any]) -> None:
    loader = make_loader(Leveled(7), batch_size=2, seed=0, **arguments)
    seen(loader)
    for state in (loader.state_dict(), (next(iter(loader)), loader.state_dict())[1]):
        resumed = make_loader(Leveled(0), batch_size=2, seed=0, **arguments)
        resumed.load_state_dict(state)
        assert [seen(resumed)[-1], seen(resumed), seen(resumed)] == [[73, 74], *[[[71, 72], [73, 74]]] * 2]


class Heavy(Leveled):
    """Holds an array, and a function that pickle does not take."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.rows = Rows(4)
        self.function = lambda: None


COPIED: list[object] = []


class Rows(np.ndarray):
    def __new__(cls, length: int) -> Rows:
        return np.zeros(length).view(cls)

    def __deepcopy__(self, memo: Any) -> Rows:
        COPIED.append(self)
        return self


def test_a_stream_is_asked_where_it_is_without_copying_its_arrays() -> None:
    loader = make_loader(Heavy(7), batch_size=2, seed=0)
    loader.state_dict()
    seen(loader)
    resumed = make_loader(Heavy(0), batch_size=2, seed=0)
    resumed.load_state_dict(loader.state_dict())
    assert seen(resumed) == [[71, 72], [73, 74]]
    assert not COPIED


class BeginsAnew(GoesOn):
    """Its state is where it is, and counts only once it was loaded."""

    loaded = 0

    def __iter__(self) -> Iterator[int]:
        self.at, self.loaded = self.loaded, 0
        yield from super().__iter__()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.loaded, self.epoch = state["at"], state["epoch"]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_given_up_while_its_iterator_is_held_is_resumed_as_one_that_was_left(workers: int) -> None:
    def left() -> Any:
        loader = make_loader(range(12), batch_size=2, sampler=BeginsAnew(), seed=0, num_workers=workers)
        iterator = iter(loader)
        next(iterator)
        loader.set_epoch(1)
        return loader, iterator

    (loader, _), (saved, _) = left(), left()
    resumed = make_loader(range(12), batch_size=2, sampler=BeginsAnew(), seed=0, num_workers=workers)
    resumed.load_state_dict(saved.state_dict())
    assert [seen(resumed), seen(resumed)] == [seen(loader), seen(loader)]
