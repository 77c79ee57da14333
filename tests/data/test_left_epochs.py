"""Epochs that do not go straight to their end: errors, breaks, samplers with a will of their own, shared ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler, RandomSampler, Sampler

from deterministic.errors import NondeterminismWarning

from .datasets import LENGTH, Draws, batches, epochs, loader


class Holed(Draws):
    """Has one sample that cannot be made."""

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 7:
            raise KeyError(index)
        return super().__getitem__(index)


class SelfMoving(Sampler[int]):
    """Moves its own epoch at the end of each, as Accelerate's SeedableRandomSampler does."""

    def __init__(self) -> None:
        self.epoch = 0

    def __len__(self) -> int:
        return 16

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch)
        yield from torch.randperm(16, generator=generator).tolist()
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class Endless(Sampler[int]):
    """Never ends, and draws from a generator that it holds."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def __iter__(self) -> Iterator[int]:
        while True:
            yield int(torch.randint(LENGTH, (), generator=self.generator))


def holding() -> RandomSampler:
    return RandomSampler(range(LENGTH), replacement=True, generator=torch.Generator().manual_seed(3))


def distributed() -> DistributedSampler[Any]:
    return DistributedSampler(Draws(), 2, 0, shuffle=True)


def past_errors(iterator: Any, count: int) -> list[Any]:
    """Take so many batches; an error stands for a batch."""
    taken: list[Any] = []
    while len(taken) < count:
        try:
            taken.append(next(iterator).tolist())
        except KeyError:
            taken.append("error")
        except StopIteration:
            break
    return taken


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("arguments", [{"shuffle": False}, {"sampler": range(LENGTH)}], ids=["own", "sampler"])
def test_a_batch_that_raised_is_behind_once_another_was_yielded(workers: int, arguments: dict[str, Any]) -> None:
    def new() -> Any:
        return loader(Holed(), batch_size=4, num_workers=workers, **arguments)

    whole = past_errors(iter(new()), 20)
    assert whole.count("error") == 1
    for taken in range(1, 5):
        iterated = new()
        iterator = iter(iterated)
        assert past_errors(iterator, taken) == whole[:taken]
        later = new()
        later.load_state_dict(iterated.state_dict())
        # Right after the error, the batch is tried again; nobody has gone on to another one yet.
        rest = whole[taken - 1 if whole[taken - 1] == "error" else taken :]
        assert past_errors(iter(later), 20) == rest


def test_ctrl_c_in_the_dataset_loses_the_batch_as_any_error_does() -> None:
    class Interrupted(Draws):
        times = 0

        def __getitem__(self, index: int) -> torch.Tensor:
            self.times += 1
            if self.times == 6:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    expected = epochs(loader(shuffle=False, batch_size=4), 1)[0]
    iterated = loader(Interrupted(), shuffle=False, batch_size=4)
    iterator = iter(iterated)
    next(iterator)
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert iterated.state_dict()["done"] == 4
    assert next(iterator).tolist() == expected[2]
    assert iterated.state_dict()["done"] == 12


@pytest.mark.parametrize("make", [holding, Endless, SelfMoving, distributed], ids=lambda make: make.__name__)
def test_what_follows_a_break_does_not_depend_on_what_was_fetched_ahead(make: Any) -> None:
    def seen(**arguments: Any) -> list[Any]:
        iterated = loader(sampler=make(), batch_size=4, **arguments)
        taken = []
        for count in (1, 2, 0, 3):
            taken.append([batch.tolist() for batch in itertools.islice(iterated, count)])
        return taken

    alone = seen()
    assert seen(num_workers=1) == alone
    assert seen(num_workers=2, prefetch_factor=4) == alone


@pytest.mark.parametrize("make", [holding, distributed], ids=lambda make: make.__name__)
def test_an_epoch_set_after_iter_does_not_depend_on_it_either(make: Any) -> None:
    def seen(**arguments: Any) -> Any:
        iterated = loader(sampler=make(), **arguments)
        iterator = iter(iterated)
        iterated.set_epoch(3)
        return [batch.tolist() for batch in iterator]

    assert seen() == seen(num_workers=2)


def test_a_sampler_that_moves_its_own_epoch_has_the_loaders() -> None:
    alone = epochs(loader(sampler=SelfMoving(), batch_size=4), 3)
    assert epochs(loader(sampler=SelfMoving(), batch_size=4, num_workers=2), 3) == alone


def test_a_sampler_of_two_loaders_is_told_each_ones_epoch() -> None:
    expected = epochs(loader(sampler=distributed()), 4)
    sampler = distributed()
    one, two = loader(sampler=sampler), loader(sampler=sampler)
    iterator = iter(two)
    assert batches(iterator, 1) == expected[0][:1]
    saved, rest = two.state_dict(), [batch.tolist() for batch in iterator]
    assert epochs(one, 2) == expected[:2]
    two.load_state_dict(saved)
    assert [batch.tolist() for batch in two] == rest
    assert epochs(loader(sampler=sampler), 1) == expected[:1]


def test_an_epoch_set_on_the_sampler_is_seen_by_whoever_asks() -> None:
    expected = epochs(loader(sampler=distributed()), 6)
    for ask in ("peek", "check", "state_dict"):
        sampler = distributed()
        iterated = loader(sampler=sampler)
        sampler.set_epoch(5)
        found = getattr(iterated, ask)()
        if ask == "peek":
            assert found.tolist() == expected[5][0]
        if ask == "state_dict":
            assert found["epoch"] == 5
        assert iterated.epoch == 5
        assert epochs(iterated, 1) == [expected[5]]


def test_a_loader_made_anew_every_epoch_takes_the_samplers() -> None:
    expected = epochs(loader(sampler=distributed()), 3)
    sampler = distributed()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert epochs(loader(sampler=sampler), 1) == [expected[epoch]]


def test_setting_the_epoch_that_was_left_begins_it_again_also_in_the_state() -> None:
    first, second = epochs(loader())
    iterated = loader()
    for _ in iterated:
        break
    iterated.set_epoch(0)
    assert (iterated.state_dict()["epoch"], iterated.state_dict()["done"]) == (0, 0)
    assert epochs(iterated) == [first, second]


def test_setting_the_epoch_in_the_middle_of_its_loop_leaves_the_state_to_the_loop() -> None:
    iterated = loader()
    iterator = iter(iterated)
    batches(iterator, 2)
    iterated.set_epoch(0)
    assert iterated.state_dict()["done"] == 16


def test_an_iterator_that_could_not_begin_again_can_try_once_more() -> None:
    class Failing(SelfMoving):
        fails = False

        def set_epoch(self, epoch: int) -> None:
            if self.fails and epoch == 2:
                raise OSError("gone")
            super().set_epoch(epoch)

    sampler = Failing()
    iterated = loader(sampler=sampler, batch_size=4, num_workers=1)
    expected = epochs(loader(sampler=SelfMoving(), batch_size=4), 3)[2]
    iterator = iter(iterated)
    iterated.set_epoch(2)
    sampler.fails = True
    with pytest.raises(OSError, match="gone"):
        next(iterator)
    sampler.fails = False
    assert [batch.tolist() for batch in iterator] == expected


def test_what_is_remembered_of_a_sampler_does_not_grow() -> None:
    iterated = loader(Draws(), sampler=Endless(), batch_size=1)
    iterator = iter(iterated)
    batches(iterator, 300)
    assert len(iterated._epochs.under_way.memory.ahead) <= 1


def test_an_iterator_that_goes_on_from_a_state_and_is_dropped_unasked_moves_a_remembering_sampler_no_further() -> None:
    class Counting(Sampler[int]):
        passes = 0

        def __iter__(self) -> Iterator[int]:
            self.passes += 1
            yield from torch.randperm(16, generator=torch.Generator().manual_seed(self.passes)).tolist()

    stopped = loader(sampler=Counting(), batch_size=4, num_workers=1)
    next(iter(stopped))
    resumed = loader(sampler=Counting(), batch_size=4, num_workers=1)
    resumed.load_state_dict(stopped.state_dict())
    iter(resumed)
    with pytest.warns(NondeterminismWarning, match="what workers had fetched ahead"):
        second = batches(iter(resumed), 9)
    assert second == epochs(loader(sampler=Counting(), batch_size=4), 2)[1]
