"""One sample: its own generator, making it again alone, and checking that it can be made again."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import describe, make_loader, sample_rng
from deterministic.data.check import difference
from deterministic.errors import DeterministicError, NotReproducibleError

from .datasets import Draws, Explicit, InBatches, Stream, epochs, loader


@pytest.mark.parametrize("randomness", ["sample", "batch"])
def test_a_samples_own_generators_do_not_depend_on_draws_before_them(randomness: Any) -> None:
    plain = epochs(loader(Explicit(), randomness=randomness))
    assert epochs(loader(Explicit(before=3), randomness=randomness)) == plain
    assert epochs(loader(Explicit(), randomness=randomness, num_workers=2)) == plain
    rows = [tuple(row[1:]) for epoch in plain for batch in epoch for row in batch]
    assert len(set(rows)) == len(rows) == 100
    for library in range(3):
        assert len({row[library] for row in rows}) == len(rows)


def test_they_do_not_depend_on_the_batches_even_where_draws_are_keyed_per_batch() -> None:
    small, large = (
        {
            row[0]: row
            for batch in epochs(loader(Explicit(), randomness="batch", batch_size=size), 1)[0]
            for row in batch
        }
        for size in (3, 9)
    )
    assert small == large


def test_asked_again_a_samples_generator_goes_on_and_the_next_sample_has_another() -> None:
    class Twice(Draws):
        def __getitem__(self, index: int) -> torch.Tensor:
            assert sample_rng("numpy") is sample_rng()
            return torch.tensor([sample_rng().random(), sample_rng().random()], dtype=torch.float64)

    rows = [row for batch in epochs(loader(Twice()), 1)[0] for row in batch]
    assert len({value for row in rows for value in row}) == 2 * len(rows)


def test_replaying_a_sample_begins_its_generators_anew() -> None:
    iterated = loader(Explicit())
    assert torch.equal(iterated.replay(0, 3), iterated.replay(0, 3))


def test_a_batch_has_generators_too_while_it_is_collated() -> None:
    def collate(samples: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(samples) + sample_rng("python").random()

    assert epochs(loader(collate_fn=collate)) == epochs(loader(collate_fn=collate, num_workers=2))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_goes_on_after_another_loader_was_used_in_it(workers: int) -> None:
    class Nested(Explicit):
        def __getitem__(self, index: int) -> torch.Tensor:
            first = sample_rng().random()
            inside = [batch.sum().item() for batch in loader(Draws(3))]
            return torch.tensor([first, sample_rng().random(), random.random(), *inside], dtype=torch.float64)

    class Alone(Explicit):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.tensor([sample_rng().random(), sample_rng().random(), random.random()], dtype=torch.float64)

    nested, alone = (epochs(loader(dataset, num_workers=workers), 1)[0] for dataset in (Nested(), Alone()))
    assert [[row[:3] for row in batch] for batch in nested] == alone


def test_outside_of_a_sample_there_is_no_generator() -> None:
    epochs(loader(), 1)
    with pytest.raises(DeterministicError, match=r"no sample is being made[\s\S]*make_loader"):
        sample_rng("numpy")


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'jax'[\s\S]*'numpy', 'torch', 'python'"):
        sample_rng("jax")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("dataset", "arguments"),
    [
        (Draws(), {}),
        (Draws(), {"num_workers": 2}),
        (Draws(), {"shuffle": False, "batch_size": 9}),
        (Draws(), {"randomness": "batch"}),
        (Draws(), {"randomness": "batch", "batch_size": None}),
        (InBatches(), {}),
        (InBatches(), {"randomness": "batch", "drop_last": True}),
        (Draws(), {"batch_size": None}),
    ],
    ids=str,
)
def test_a_replayed_sample_is_the_one_that_training_saw(dataset: Any, arguments: dict[str, Any]) -> None:
    iterated = loader(dataset, **arguments)
    before = describe()
    for epoch, seen in enumerate(epochs(iterated)):
        for batch in (seen if iterated.is_batched else [seen])[:3]:
            for row in batch:
                assert iterated.replay(epoch, int(row[0])).tolist() == row
    assert describe() == before
    assert iterated.epoch == 2


def test_a_later_appearance_of_a_sample_can_be_replayed() -> None:
    iterated = loader(sampler=[4, 4, 4])
    rows = epochs(iterated, 1)[0][0]
    assert [iterated.replay(0, 4, occurrence).tolist() for occurrence in range(3)] == rows


def test_a_sample_of_a_samplers_batch_is_replayed_where_its_key_is_its_own() -> None:
    sampler = torch.utils.data.SequentialSampler(Draws())
    assert loader(sampler=sampler).replay(0, 3).tolist() == epochs(loader(sampler=sampler), 1)[0][0][3]
    with pytest.raises(ValueError, match="only the sampler knows the batch"):
        loader(sampler=sampler, randomness="batch").replay(0, 3)


def test_what_cannot_be_replayed_is_refused() -> None:
    with pytest.raises(TypeError, match="a stream has no indices"):
        loader(Stream()).replay(0, 1)
    with pytest.raises(ValueError, match="no batch of the epoch has it"):
        loader(InBatches()).replay(0, 50)
    with pytest.raises(ValueError, match="no batch of the epoch has it"):
        left_out = epochs(loader(shuffle=None), 1)[0][-1][-1][0]
        loader(InBatches(), shuffle=None, drop_last=True).replay(0, int(left_out))
    with pytest.raises(ValueError, match="epoch is no count"):
        loader().replay(-1, 0)
    with pytest.raises(ValueError, match="occurrence is no count"):
        loader().replay(0, 0, "first")


class KeepsPython(Draws):
    """A generator that is made once: keys cannot reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.own = random.Random(0)

    def __getitem__(self, index: int) -> Any:
        return {"index": index, "image": [torch.zeros(2), torch.tensor(self.own.random())]}


class KeepsNumpy(Draws):
    def __init__(self) -> None:
        super().__init__()
        self.own = np.random.default_rng(0)

    def __getitem__(self, index: int) -> Any:
        return index, self.own.random(2)


class Timed(Draws):
    def __getitem__(self, index: int) -> Any:
        return {"at": time.perf_counter_ns()}


class Growing(Draws):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __getitem__(self, index: int) -> Any:
        self.seen.append(index)
        return list(self.seen)


@pytest.mark.parametrize(
    ("dataset", "field"),
    [
        (KeepsPython(), r"sample\['image'\]\[1\]"),
        (KeepsNumpy(), r"sample\[1\]"),
        (Timed(), r"sample\['at'\]"),
        (Growing(), r"sample \(length\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_checking_names_the_index_and_the_field_that_differ(dataset: Any, field: str) -> None:
    iterated = loader(dataset, shuffle=False)
    with pytest.raises(NotReproducibleError, match=rf"index \d gives another {field} when[\s\S]*first: [\s\S]*again: "):
        iterated.check()
    assert iterated.epoch == 0


@pytest.mark.parametrize("dataset", [Draws(), InBatches(), Explicit()], ids=lambda dataset: type(dataset).__name__)
def test_checking_finds_nothing_where_there_is_nothing(dataset: Any) -> None:
    iterated = loader(dataset)
    before = describe()
    iterated.check()
    iterated.check(samples=50)
    assert describe() == before
    assert epochs(iterated) == epochs(loader(dataset))


def test_checking_refuses_streams_and_counts_below_one() -> None:
    with pytest.raises(TypeError, match="a stream cannot be asked"):
        loader(Stream()).check()
    for samples in (0, "2", 1.5, True):
        with pytest.raises(ValueError, match=r"no number of samples[\s\S]*1 or more"):
            loader().check(samples)
    loader().check(np.int64(2))


@dataclass
class Pair:
    left: Any
    right: Any


@dataclass(slots=True)
class Slotted:
    value: Any


def objects(counter: int) -> Any:
    array = np.empty(20, dtype=object)
    array[:] = [[counter if place == 5 else 0, np.zeros(50)] for place in range(20)]
    return array


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


class Opaque:
    __slots__ = ("value",)

    def __reduce__(self) -> Any:
        raise TypeError("not today")


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (1, 1, None),
        (1, 2, "x"),
        (1, 1.0, "x (type)"),
        (0.0, -0.0, "x"),
        (NAN, NAN, None),
        ("a", "b", "x"),
        ([1, 2], [1, 3], "x[1]"),
        ((1,), (1, 2), "x (length)"),
        ({"a": 1}, {"b": 1}, "x (keys)"),
        ({"a": {"b": [0, 1]}}, {"a": {"b": [0, 2]}}, "x['a']['b'][1]"),
        (torch.tensor([0.0]), torch.tensor([-0.0]), "x"),
        (torch.tensor([NAN]), torch.tensor([NAN]), None),
        (torch.tensor([1]), torch.tensor([1], dtype=torch.int32), "x"),
        (torch.zeros(2), torch.zeros(1, 2), "x"),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j]), None),
        (torch.eye(2).to_sparse(), (2 * torch.eye(2)).to_sparse(), "x"),
        (torch.zeros(0), torch.zeros(0), None),
        (np.array(["a", None], dtype=object), np.array(["a", 1], dtype=object), "x[1][1] (type)"),
        (np.zeros(2), np.zeros(2), None),
        (Pair(1, torch.ones(1)), Pair(1, torch.zeros(1)), "x (Pair).right"),
        (Slotted(torch.ones(1)), Slotted(torch.zeros(1)), "x (Slotted).value"),
        (deque([torch.ones(2)]), deque([torch.ones(2)]), None),
        (deque([torch.ones(2)]), deque([torch.zeros(2)]), "x[0]"),
        (SimpleNamespace(a=torch.ones(2)), SimpleNamespace(a=torch.zeros(2)), "x (SimpleNamespace)['a']"),
        (np.float32("nan"), np.float32("nan"), None),
        (np.float64(0.0), np.float64(-0.0), "x"),
        (np.datetime64("NaT"), np.datetime64("NaT"), None),
        (complex(NAN, 1), complex(NAN, 1), None),
        (torch.eye(2).to_sparse(), torch.eye(2).to_sparse(), None),
        (torch.zeros(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16), "x"),
        (objects(0), objects(1), "x[1][5][0]"),
        (Plain([1]), Plain([2]), "x (Plain)['value'][0]"),
        (Plain([1]), Plain([1]), None),
    ],
    ids=str,
)
def test_values_are_compared_by_their_bits(one: Any, other: Any, field: str | None) -> None:
    found = difference(one, other, "x")
    assert (None if found is None else found[0]) == field


def test_what_cannot_be_compared_is_not_taken_for_the_same() -> None:
    with pytest.raises(DeterministicError, match="cannot be told"):
        difference(Opaque(), Opaque(), "x")
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(DeterministicError, match="it contains itself"):
        difference(cycle, cycle, "x")


def test_a_loader_over_a_plain_list_can_be_checked_and_replayed() -> None:
    iterated = make_loader([10, 20, 30], 2, seed=0)
    iterated.check()
    assert iterated.replay(0, 1) == 20
