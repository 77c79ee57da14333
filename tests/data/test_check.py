"""`loader.check()`: what keys cannot reach is found, and values are compared by their bits."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import UserDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, RandomSampler

from deterministic import describe
from deterministic.errors import DeterministicError, NotReproducibleError
from deterministic.values.difference import difference

from ..ids import without_address
from ..trace.objects import Color, DataDict, DataModule
from .datasets import Draws, Explicit, InBatches, SeekableStream, Stream, epochs, loader


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
    iterated = loader(dataset, shuffle=False, held="leave")
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


class Seeded(Stream):
    """Draws from a generator that is seeded from what no key reaches, as webdataset's shuffle without a seed."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        own = np.random.default_rng()
        yield from (sample + int(own.integers(2**30)) for sample in super().__iter__())


class Short(Stream):
    """Has another length whenever it is made again."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from (torch.zeros(1) for _ in range(1 + time.perf_counter_ns() % 1000))


class Locked(Stream):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize("workers", [0, 1])
def test_checking_finds_what_a_stream_draws_past_the_keys(workers: int) -> None:
    iterated = loader(Seeded(), num_workers=workers)
    with pytest.raises(NotReproducibleError, match=r"batch 0 of the stream gives another batch when it is iterated"):
        iterated.check()
    assert iterated.epoch == 0
    with pytest.raises(NotReproducibleError, match="the stream gives another number of batches when"):
        loader(Short(), batch_size=1, num_workers=workers).check(2000)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [Stream, SeekableStream])
def test_checking_a_stream_moves_nothing(kind: type[Stream], workers: int) -> None:
    wanted = epochs(loader(kind(), num_workers=workers), 3)
    iterated = loader(kind(), num_workers=workers)
    before = describe()
    found = []
    for _ in range(3):
        iterated.check()
        iterated.check(samples=100)
        found += epochs(iterated, 1)
    assert found == wanted
    assert describe() == before


def test_a_stream_that_cannot_be_copied_is_checked_in_worker_processes() -> None:
    with pytest.raises(DeterministicError, match=r"cannot be copied[\s\S]*lock[\s\S]*num_workers=1"):
        loader(Locked()).check()
    loader(Locked(), num_workers=1).check()


class Counts:
    """Makes each batch longer than the one before."""

    calls = 0

    def __call__(self, samples: list[Any]) -> Any:
        self.calls += 1
        return torch.stack(samples).repeat(self.calls, 1)


def unseeded(samples: list[Any]) -> Any:
    return torch.stack(samples) * np.random.default_rng().random()


@pytest.mark.parametrize("collate_fn", [Counts(), unseeded], ids=without_address)
def test_checking_finds_what_a_collate_fn_keeps_between_batches(collate_fn: Any) -> None:
    with pytest.raises(NotReproducibleError, match=r"the batch that begins with index .* when it is collated again"):
        loader(collate_fn=collate_fn, batch_size=3).check()


def mixed(samples: list[Any]) -> Any:
    batch = torch.stack(samples)
    return batch + torch.rand(1) * batch[torch.randperm(len(batch))]


def taking(samples: list[Any]) -> Any:
    return torch.tensor([sample.pop("number") for sample in samples])


def only_whole(samples: list[Any]) -> Any:
    assert len(samples) == 16
    return torch.stack(samples)


@pytest.mark.parametrize("collate_fn", [mixed, only_whole], ids=without_address)
@pytest.mark.parametrize("batch_size", [3, 16])
def test_checking_finds_nothing_in_a_collate_fn_that_draws_by_its_batch(collate_fn: Any, batch_size: int) -> None:
    loader(collate_fn=collate_fn, batch_size=batch_size).check()


def test_checking_collates_copies() -> None:
    data: Any = [{"number": number} for number in range(6)]
    loader(data, collate_fn=taking, batch_size=2).check()
    assert data == [{"number": number} for number in range(6)]


class Gathers(InBatches):
    """Makes what a list of indices stands for."""

    def __getitem__(self, index: Any) -> Any:
        return torch.rand(len(index)) + torch.tensor(index)

    def __getitems__(self, indices: Any) -> Any:
        raise AssertionError("a loader without batches asks for one index, which may be a list")


def test_checking_without_batches_asks_for_what_an_epoch_asks_for() -> None:
    loader(Gathers(), batch_size=None, sampler=BatchSampler(RandomSampler(range(8)), 3, drop_last=False)).check()


def test_checking_refuses_counts_below_one() -> None:
    for samples in (0, "2", 1.5, True):
        with pytest.raises(ValueError, match=r"not a number of samples[\s\S]*1 or more"):
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


class Alone(Plain):
    """Equal to itself only, as the graphs of torch_geometric are."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


class Bare:
    """Attributes in slots, and no comparison."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Told(Bare):
    """Pickled by what it says of itself."""

    def __reduce__(self) -> Any:
        return Told, (self.value,)


class Rows(UserDict[str, Any]):
    """Iterates over something else than its keys, and has no state but of numbers, as a TensorDict."""

    def __iter__(self) -> Any:
        raise TypeError

    def keys(self) -> Any:
        return self.data.keys()

    def state_dict(self) -> dict[str, Any]:
        return {key: self.data[key] for key in self.data if not isinstance(self.data[key], str)}


class Opaque:
    __slots__ = ("value",)

    def __reduce__(self) -> Any:
        raise TypeError("not today")


NAN = float("nan")


def nested(value: float) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.full((2,), value), torch.ones(3)], layout=torch.jagged)


def structured(junk: int, value: float) -> Any:
    """Return an array with something between its fields."""
    array = np.full(16, junk, np.uint8).view(np.dtype([("label", "i1"), ("box", "f8")], align=True))
    array["label"], array["box"] = 3, value
    return array


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
        (np.datetime64("NaT", "s"), np.datetime64("NaT", "s"), None),
        (complex(NAN, 1), complex(NAN, 1), None),
        (torch.eye(2).to_sparse(), torch.eye(2).to_sparse(), None),
        (torch.zeros(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16), "x"),
        (objects(0), objects(1), "x[1][5][0]"),
        (Plain([1]), Plain([2]), "x (Plain)['value'][0]"),
        (Plain([1]), Plain([1]), None),
        (Plain({"a": torch.ones(1), "b": 1}), Plain({"b": 1, "a": torch.zeros(1)}), "x (Plain)['value']['a']"),
        (Color.RED, Color.RED, None),
        (Color.RED, Color.BLUE, "x"),
        (nested(1.0), nested(1.0), None),
        (nested(1.0), nested(2.0), "x"),
        (structured(1, 1.5), structured(2, 1.5), None),
        (structured(1, 1.5), structured(1, 2.5), "x"),
        (DataModule(1.0), DataModule(1.0), None),
        ([DataModule(1.0)], [DataModule(2.0)], "x[0]"),
        (DataDict(1, beside=1), DataDict(1, beside=2), "x (DataDict).beside"),
        (np.ma.masked_array([1, 2], [True, False]), np.ma.masked_array([1, 2], [True, False]), None),
        (np.ma.masked_array([1, 2], [True, False]), np.ma.masked_array([1, 2], [False, True]), "x"),
        (Alone(torch.ones(2)), Alone(torch.ones(2)), None),
        ([Alone([1])], [Alone([2])], "x[0] (Alone)['value'][0]"),
        (Bare(torch.ones(2)), Bare(torch.ones(2)), None),
        (Bare(0.0), Bare(-0.0), "x (Bare)['value']"),
        (Told(NAN), Told(NAN), None),
        (Told(1), Told(2), "x"),
        (Rows(a=1, b="b"), Rows(a=1, b="b"), None),
        (Rows(a=1, b="b"), Rows(a=1, b="c"), "x['b']"),
        (Rows(a=1, b="b"), Rows(a=2, b="b"), "x['a']"),
        (re.compile("a"), re.compile("a"), None),
        (re.compile("a"), re.compile("b"), "x"),
        (time.sleep, time.sleep, None),
        ({1, 2}, {2, 1}, None),
        (random.Random(1), random.Random(2), "x"),
    ],
    ids=without_address,
)
def test_values_are_compared_by_their_bits(one: Any, other: Any, field: str | None) -> None:
    found = difference(one, other, "x")
    assert (None if found is None else found[0]) == field


def test_what_cannot_be_compared_is_not_taken_for_the_same() -> None:
    with pytest.raises(DeterministicError, match="nobody can say"):
        difference(Opaque(), Opaque(), "x")
    makers: list[Any] = [
        lambda: lambda: None,
        lambda: {Plain(1), Plain(2)},
        lambda: {Plain(1): 1},
        lambda: [threading.Lock()],
    ]
    for make in makers:
        with pytest.raises(DeterministicError, match="nobody can say"):
            difference(make(), make(), "x")
    one: list[Any] = []
    other: list[Any] = []
    for _ in range(2000):
        one, other = [one], [other]
    with pytest.raises(DeterministicError, match="nested too deep") as caught:
        difference(one, other, "x")
    assert len(str(caught.value)) < 1000


def test_what_contains_itself_is_compared_by_what_else_it_holds() -> None:
    def cycle(value: int) -> list[Any]:
        held = Plain(None)
        held.value = [held, value]
        return [held]

    assert difference(cycle(1), cycle(1), "x") is None
    assert difference(cycle(1), cycle(2), "x") == ("x[0] (Plain)['value'][1]", "1", "2")
    one: list[Any] = []
    one.append(one)
    assert difference(one, [one], "x") is None
