"""Samplers of the user's: their own order, made independent of the accidental, and resumed by indices alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from deterministic import describe, reproducible
from deterministic.data.samples.generators import generator_states, restore_generators
from deterministic.errors import DeterministicError, ResumeMismatchError

from ..properties import covering
from .datasets import LENGTH, Draws, batches, epochs, loader

WEIGHTS = [float(index + 1) for index in range(LENGTH)]


class Global(Sampler[int]):
    """Draws from global generators, all at once."""

    def __init__(self, data_source: Any = None) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        indices = torch.randperm(LENGTH).tolist()
        random.shuffle(indices)
        np.random.shuffle(indices)
        return iter(indices)


class Lazy(Global):
    """Draws from global generators, one index at a time."""

    def __iter__(self) -> Iterator[int]:
        for _ in range(LENGTH):
            yield (random.randrange(LENGTH) + int(torch.randint(LENGTH, ())) + np.random.randint(LENGTH)) % LENGTH


class Holding(Global):
    """Draws from generators that it holds."""

    def __init__(self) -> None:
        self.generators: dict[str, Any] = {"python": random.Random(1), "numpy": [np.random.default_rng(2)]}
        self.legacy = np.random.RandomState(3)

    def __iter__(self) -> Iterator[int]:
        for _ in range(LENGTH):
            drawn = self.generators["python"].randrange(LENGTH) + self.generators["numpy"][0].integers(LENGTH)
            yield int(drawn + self.legacy.randint(LENGTH)) % LENGTH


class Counting(Global):
    """Remembers how often it was iterated, and says so."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Iterator[int]:
        self.times += 1
        return iter([(index * (2 * self.times + 1)) % LENGTH for index in range(LENGTH)])

    def state_dict(self) -> dict[str, int]:
        return {"times": self.times}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.times = state["times"]


class Secretive(Counting):
    """Remembers it, and does not say so."""

    state_dict = None  # type: ignore[assignment]


class Eager(Sampler[list[int]]):
    """A batch sampler that makes its batches when it is iterated."""

    def __len__(self) -> int:
        return LENGTH // 5

    def __iter__(self) -> Iterator[list[int]]:
        indices = torch.randperm(LENGTH).tolist()
        return iter([indices[start : start + 5] for start in range(0, LENGTH, 5)])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


SAMPLERS: dict[str, Callable[[], dict[str, Any]]] = {
    "random": lambda: {"sampler": RandomSampler(range(LENGTH))},
    "random with a generator": lambda: {"sampler": RandomSampler(range(LENGTH), generator=generator())},
    "random with replacement": lambda: {"sampler": RandomSampler(range(LENGTH), replacement=True)},
    "weighted": lambda: {"sampler": WeightedRandomSampler(WEIGHTS, LENGTH)},
    "weighted with a generator": lambda: {"sampler": WeightedRandomSampler(WEIGHTS, LENGTH, generator=generator())},
    "subset": lambda: {"sampler": SubsetRandomSampler(range(5, 45))},
    "subset with a generator": lambda: {"sampler": SubsetRandomSampler(range(5, 45), generator=generator())},
    "distributed": lambda: {"sampler": DistributedSampler(Draws(), 2, 1, shuffle=True)},
    "global generators, eager": lambda: {"sampler": Global()},
    "global generators, lazy": lambda: {"sampler": Lazy()},
    "generators of its own": lambda: {"sampler": Holding()},
    "a state of its own": lambda: {"sampler": Counting()},
    "batches": lambda: {"batch_sampler": BatchSampler(Global(), 6, True)},
    "batches with a state": lambda: {"batch_sampler": BatchSampler(Counting(), 6, False)},
    "batches with a generator": lambda: {
        "batch_sampler": BatchSampler(RandomSampler(range(LENGTH), generator=generator()), 6, False)
    },
    "batches, eager": lambda: {"batch_sampler": Eager()},
    "a list of batches": lambda: {"batch_sampler": [[3, 1], [0], [4, 4]] * 3},
    "not batched": lambda: {"sampler": Lazy(), "batch_size": None},
    "a list": lambda: {"sampler": [5, 5, 5, 1, 2] * 8},
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_its_order_and_samples_do_not_depend_on_workers_or_global_generators(name: str) -> None:
    expected = epochs(loader(**SAMPLERS[name]()))
    with reproducible(seed=None, deterministic=False):
        torch.rand(5), random.random(), np.random.rand()
        before = describe()
        assert epochs(loader(num_workers=2, **SAMPLERS[name]())) == expected
        assert epochs(loader(**SAMPLERS[name]())) == expected
        assert describe() == before
    rows = [
        tuple(row) for epoch in expected for batch in epoch for row in (batch if name != "not batched" else [batch])
    ]
    assert len(set(rows)) == len(rows), "no two samples draw the same, also where an index comes again"


@pytest.mark.parametrize(("name", "done"), covering([*SAMPLERS], [0, 1, 4]))
def test_it_is_resumed_by_its_indices(name: str, done: int) -> None:
    _, second, third, fourth = epochs(loader(**SAMPLERS[name]()), 4)
    iterated = loader(num_workers=1, **SAMPLERS[name]())
    epochs(iterated, 1)
    assert batches(iter(iterated), done) == second[:done]
    state = json.loads(json.dumps(iterated.state_dict()))
    later = loader(**SAMPLERS[name]())
    later.load_state_dict(state)
    iterator = iter(later)
    assert batches(iterator, 1) == second[done : done + 1]
    again = loader(num_workers=2, **SAMPLERS[name]())
    again.load_state_dict(json.loads(json.dumps(later.state_dict())))
    expected = [second[done + 1 :], third] if done < len(second) else [third, fourth]
    assert epochs(again) == expected, "a resume of a resume"


@pytest.mark.parametrize("name", SAMPLERS)
def test_between_epochs_it_goes_on_with_the_next(name: str) -> None:
    _, second = epochs(loader(**SAMPLERS[name]()))
    iterated = loader(**SAMPLERS[name]())
    epochs(iterated, 1)
    later = loader(**SAMPLERS[name]())
    later.load_state_dict(json.loads(json.dumps(iterated.state_dict())))
    assert epochs(later, 1) == [second]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_look_leaves_it_where_it_is(name: str) -> None:
    expected = epochs(loader(**SAMPLERS[name]()))
    iterated = loader(**SAMPLERS[name]())
    assert iterated.peek().tolist() == expected[0][0]
    iterated.check(3)
    assert epochs(iterated) == expected


def test_the_order_of_a_sampler_with_a_generator_is_the_one_it_has_in_a_plain_loader() -> None:
    with reproducible(seed=None, deterministic=False):
        plain = DataLoader(Draws(), 8, sampler=RandomSampler(range(LENGTH), generator=generator()))
        ours = loader(**SAMPLERS["random with a generator"]())
        for _ in range(2):
            assert [batch[:, 0].tolist() for batch in ours] == [batch[:, 0].tolist() for batch in plain]


def test_a_distributed_sampler_is_told_the_epoch() -> None:
    sampler: DistributedSampler[Any] = DistributedSampler(Draws(), 2, 0, shuffle=True)
    iterated = loader(sampler=sampler)
    iterated.set_epoch(5)
    epochs(iterated, 1)
    assert sampler.epoch == 5


def test_an_epoch_set_on_the_sampler_is_heeded_before_and_after_iter() -> None:
    def new() -> tuple[Any, Any]:
        sampler: DistributedSampler[Any] = DistributedSampler(Draws(), 2, 0, shuffle=True)
        return sampler, loader(sampler=sampler)

    expected = epochs(new()[1], 4)
    sampler, iterated = new()
    for epoch in (2, 0):
        sampler.set_epoch(epoch)
        assert epochs(iterated, 1) == [expected[epoch]]
    iterator = iter(iterated)
    sampler.set_epoch(3)
    assert [batch.tolist() for batch in iterator] == expected[3]
    iterated.set_epoch(1)
    assert epochs(iterated) == expected[1:3], "the loader's own set_epoch still counts"
    sampler.set_epoch(3)
    iterated.peek()
    assert sampler.epoch == 3
    assert epochs(iterated, 1) == [expected[3]]


def test_a_resume_keeps_its_place_when_the_sampler_is_told_the_same_epoch() -> None:
    sampler: DistributedSampler[Any] = DistributedSampler(Draws(), 2, 0, shuffle=True)
    iterated = loader(sampler=sampler)
    _, second = epochs(iterated)
    iterated.set_epoch(1)
    batches(iter(iterated), 2)
    later = loader(sampler=sampler)
    later.load_state_dict(iterated.state_dict())
    sampler.set_epoch(1)
    assert epochs(later, 1) == [second[2:]]


def test_string_indices_have_keys_of_their_own() -> None:
    class Named(Draws):
        def __getitem__(self, index: Any) -> torch.Tensor:
            return super().__getitem__(len(index))

    names = ["a", "bb", "ccc", "bb", "dddd"] * 3
    expected = epochs(loader(Named(), sampler=names, batch_size=4))
    assert epochs(loader(Named(), sampler=names, batch_size=4, num_workers=2)) == expected
    rows = [tuple(row) for epoch in expected for batch in epoch for row in batch]
    assert len(set(rows)) == len(rows)


def test_a_sampler_that_hides_what_its_order_depends_on_is_found_out_on_resume() -> None:
    iterated = loader(sampler=Secretive())
    epochs(iterated, 2)
    batches(iter(iterated), 3)
    later = loader(sampler=Secretive())
    later.load_state_dict(iterated.state_dict())
    with pytest.raises(ResumeMismatchError, match=r"does not repeat the indices[\s\S]*state_dict"):
        next(iter(later))


def test_a_sampler_that_has_become_shorter_than_the_place_is_refused() -> None:
    class Fickle(Global):
        def __init__(self, given: int) -> None:
            self.given = given

        def __iter__(self) -> Iterator[int]:
            return iter(range(self.given))

    iterated = loader(sampler=Fickle(40))
    batches(iter(iterated), 4)
    later = loader(sampler=Fickle(16))
    later.load_state_dict(iterated.state_dict())
    with pytest.raises(DeterministicError, match=r"fewer batches[\s\S]*saved: 4"):
        next(iter(later))


@pytest.mark.parametrize(
    ("saved", "here", "named"),
    [
        ("random", "weighted", "saved 'RandomSampler', here 'WeightedRandomSampler'"),
        ("random", "random with a generator", r"saved: \[\]\n  here: \['Generator'\]"),
        ("random", "subset", "saved 'RandomSampler', here 'SubsetRandomSampler'"),
    ],
)
def test_a_state_of_another_sampler_is_refused(saved: str, here: str, named: str) -> None:
    state = loader(**SAMPLERS[saved]()).state_dict()
    other = loader(**SAMPLERS[here]())
    with pytest.raises(ResumeMismatchError, match=named):
        other.load_state_dict(state)


def test_another_batch_size_or_length_is_refused() -> None:
    state = loader(sampler=SequentialSampler(range(LENGTH))).state_dict()
    with pytest.raises(ResumeMismatchError, match="batch_size: saved 8, here 4"):
        loader(sampler=SequentialSampler(range(LENGTH)), batch_size=4).load_state_dict(state)
    with pytest.raises(ResumeMismatchError, match="length of the dataset: saved 50, here 9"):
        loader(sampler=SequentialSampler(range(9))).load_state_dict(state)


@pytest.mark.parametrize("wrong", [["MT19937"], [3, [1] * 625, None], {}, "AAAA", None])
def test_a_wrong_state_of_one_generator_moves_none_of_a_sampler(wrong: Any) -> None:
    sampler: list[Any] = [random.Random(1), np.random.RandomState(1)]
    states = generator_states(sampler)
    sampler[0].random()
    before = generator_states(sampler)
    with pytest.raises((ValueError, TypeError)):
        restore_generators(sampler, [states[0], [states[1][0], wrong]])
    assert generator_states(sampler) == before


class Reseeds(Sampler[int]):
    """Reseeds the global generators whenever it is told or put anywhere."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))

    def set_epoch(self, epoch: int) -> None:
        torch.default_generator.manual_seed(epoch)

    def state_dict(self) -> dict[str, int]:
        return {"at": 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        random.seed(1)
        torch.default_generator.manual_seed(1)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_sampler_draws_where_it_is_told_or_put_back_leaves_the_callers_generators(workers: int) -> None:
    before = describe()
    iterated = loader(sampler=Reseeds(), num_workers=workers)
    iterated.peek()
    next(iter(iterated))
    resumed = loader(sampler=Reseeds(), num_workers=workers)
    resumed.load_state_dict(iterated.state_dict())
    list(resumed)
    assert describe() == before


def test_the_report_says_that_the_generators_of_a_sampler_go_on_as_their_own_seeds_say() -> None:
    with reproducible(seed=0) as run:
        for sampler in (Holding(), Global()):
            loader(sampler=sampler)
        holding, others = (entry["notes"] for entry in run.report().data["loaders"])
    assert holding == [
        "Holding holds a generator (Generator, Random, RandomState), whose own seed decides the order: "
        "without one, each run has another."
    ]
    assert others == []
