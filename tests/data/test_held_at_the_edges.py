"""Generators that a dataset holds in odd places: made late, shared, in no order, named by a process or an address."""

from __future__ import annotations

import logging
import os
import random
import sys
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from deterministic import make_loader, reproducible

from .datasets import epochs, loader


class Base(Dataset[Any]):
    """Ten samples, of which each draws from what `generator` gives."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([index, self.draw(index)], dtype=torch.float64)

    def draw(self, index: int) -> float:
        raise NotImplementedError


def seen(dataset: Any, **arguments: Any) -> Any:
    return epochs(loader(dataset, shuffle=False, **arguments), 2)


class InASet(Base):
    def __init__(self, seeds: list[int]) -> None:
        self.steps = {Step(seed) for seed in seeds}

    def draw(self, index: int) -> float:
        return max(step.generator.random() for step in self.steps)


class Step:
    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)


def test_seeds_in_a_set_do_not_count_since_it_has_no_order() -> None:
    kept, results = [], []
    for seeds in ([1, 2, 3, 4], [4, 3, 2, 1], [2, 1, 4, 3], [5, 6, 7, 8]):
        kept.append(InASet(seeds))
        results.append(seen(kept[-1]))
    assert results[1:] == results[:-1]


class ByProcess(Base):
    def __init__(self) -> None:
        self.generators: dict[int, Any] = {}

    def draw(self, index: int) -> float:
        return float(self.generators.setdefault(os.getpid(), np.random.default_rng()).random())


class ByKey(Base):
    def __init__(self, key: Any) -> None:
        self.key = (key,)
        self.generators = {key: np.random.default_rng()}

    def set_epoch(self, epoch: int) -> None:
        if epoch:
            self.generators[self.key[0]] = np.random.default_rng()

    def draw(self, index: int) -> float:
        return float(self.generators[self.key[0]].random())


def test_a_key_that_is_a_process_or_an_address_is_no_part_of_the_path() -> None:
    first = seen(ByProcess())
    assert first == seen(ByProcess(), num_workers=2)
    assert seen(ByKey(2**40)) == seen(ByKey(2**41 + 1))
    assert seen(ByKey(3)) != seen(ByKey(4))


def test_a_generator_under_a_key_of_another_kind_is_keyed_when_it_is_replaced() -> None:
    assert seen(ByKey((1, 2))) == seen(ByKey((1, 2)), num_workers=1, persistent_workers=True)


users: Any = None


class Attaches(Base):
    generator: Any = None

    def __init__(self, at: int, *, has_one: bool) -> None:
        self.at = at
        self.generator = np.random.default_rng() if has_one else None

    def draw(self, index: int) -> float:
        if index == self.at:
            self.generator = sys.modules[__name__].users
        return 0.0


@pytest.mark.parametrize("has_one", [False, True])
@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("make", [np.random.default_rng, random.Random, np.random.RandomState])
def test_the_user_s_own_generator_that_is_attached_within_a_batch_is_left_where_it_was(
    make: Any, at: int, has_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, alone = make(5), make(5)
    monkeypatch.setitem(globals(), "users", theirs)
    for _ in loader(Attaches(at, has_one=has_one), shuffle=False, batch_size=4):
        assert theirs.random() == alone.random()


class EmptySlot(Base):
    __slots__ = ("generator",)

    def draw(self, index: int) -> float:
        if index > 4 and not hasattr(self, "generator"):
            self.generator = np.random.default_rng()
        return float(self.generator.random()) if index > 4 else 0.0


class OfTheClass(Base):
    generator: Any = None

    def __init__(self) -> None:
        type(self).generator = None

    def draw(self, index: int) -> float:
        if index > 4 and self.generator is None:
            type(self).generator = np.random.default_rng()
        return float(self.generator.random()) if index > 4 else 0.0


late: Any = None


class Global(Base):
    def __init__(self) -> None:
        global late
        late = None

    def draw(self, index: int) -> float:
        global late
        if index > 4 and late is None:
            late = np.random.default_rng()
        return float(late.random()) if index > 4 else 0.0


class InAContainer(Base):
    def __init__(self, container: Any) -> None:
        self.container = container

    def draw(self, index: int) -> float:
        if index > 4 and not self.container:
            add = getattr(self.container, "append", getattr(self.container, "add", None))
            add(np.random.default_rng()) if add else self.container.update(made=np.random.default_rng())
        values = self.container.values() if isinstance(self.container, dict) else self.container
        return sum(float(one.random()) for one in values)


LATE: dict[str, Callable[[], Base]] = {
    "an empty slot": EmptySlot,
    "a class": OfTheClass,
    "a global": Global,
    "a list": lambda: InAContainer([]),
    "a set": lambda: InAContainer(set()),
    "a dict": lambda: InAContainer({}),
    "a deque": lambda: InAContainer(deque()),
}


@pytest.mark.parametrize("place", LATE)
def test_a_batch_in_which_a_generator_appeared_is_made_anew_if_it_did_in(place: str) -> None:
    first = seen(LATE[place]())
    assert seen(LATE[place]()) == first == seen(LATE[place](), num_workers=1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.random.default_rng(np.int64(1)), np.random.default_rng(np.int64(2))),
        (np.random.default_rng(np.array([1])), np.random.default_rng(np.array([2]))),
        (np.random.default_rng([np.int64(1)]), np.random.default_rng([np.int64(2)])),
        [np.random.default_rng(child) for child in np.random.SeedSequence(5).spawn(2)],
    ],
    ids=["np.int64", "array", "list", "spawned"],
)
def test_a_seed_counts_in_each_form_that_numpy_takes(one: Any, other: Any) -> None:
    assert seen(Alone(one)) != seen(Alone(other))


class Alone(Base):
    def __init__(self, *held: Any) -> None:
        self.held = held

    def draw(self, index: int) -> float:
        return float(self.held[0].random())


def test_of_a_large_container_all_generators_are_keyed_or_nothing_is_looked_at() -> None:
    class Many(Base):
        def __init__(self, *before: Any) -> None:
            self.held = [*before, *(np.random.default_rng() for _ in range(150))]

        def draw(self, index: int) -> float:
            return float(self.held[149 - index].random())

    assert seen(Many()) == seen(Many())
    made: Any = loader(Many(0))
    assert made.keying.rows == []


def test_a_walk_ends_after_so_many_objects() -> None:
    class Annotated(Base):
        def __init__(self, name: str) -> None:
            setattr(self, name, [[[{"box": [1]} for _ in range(50)] for _ in range(50)] for _ in range(20)])
            self.middle = [[[np.random.default_rng()]]]

    made: list[Any] = [loader(Annotated(name)) for name in ("a_part", "the_rest")]
    assert [len(one.keying.rows) for one in made] == [0, 1]


def test_odd_classes_and_sets_are_looked_at_without_calling_them() -> None:
    class Odd:
        @property
        def __module__(self) -> Any:  # type: ignore[override]
            raise AssertionError

    class Nameless:
        pass

    Nameless.__module__ = None  # type: ignore[assignment]

    class Touchy(set[Any]):
        def __iter__(self) -> Any:
            raise AssertionError

        __len__ = __iter__

    class TouchyDeque(deque[Any]):
        __iter__ = __len__ = Touchy.__iter__

    def held() -> Any:
        return np.random.default_rng()

    proxy = types.MappingProxyType({"a": held()})
    made: Any = loader(Alone(Odd(), Nameless(), Touchy([held()]), TouchyDeque([held()]), proxy))
    assert [row["path"] for row in made.keying.rows] == [
        "dataset.held[2]{}",
        "dataset.held[3]{}",
        "dataset.held[4]['a']",
    ]


def test_a_transform_that_is_replaced_for_each_sample_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    class Replaces(Base):
        def __init__(self) -> None:
            self.step = Step(1)

        def __len__(self) -> int:
            return 100

        def draw(self, index: int) -> float:
            self.step = Step(1)
            return 0.0

    with caplog.at_level(logging.WARNING, "deterministic"):
        list(loader(Replaces()))
    assert [record.message for record in caplog.records if "draw from sample_rng()" in record.message] != []
    assert len(caplog.records) == 1


def test_the_report_names_a_generator_that_was_made_on_first_use() -> None:
    with reproducible(0) as run:
        list(make_loader(InAContainer([])))
        rows = run.report().data["loaders"][0]["held"]
    assert [row["path"] for row in rows] == ["dataset.container[0]"]


def test_what_a_user_s_module_is_asked_for_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "users_own.py").write_text(
        "import numpy as np\nrng = np.random.default_rng()\ndef f(): return rng.random()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    users_own = __import__("users_own")
    monkeypatch.setitem(globals(), "users_own", users_own)
    made: Any = loader(Asks())
    assert [row["path"] for row in made.keying.rows] == ["users_own.rng"]
    made.check()


class Asks(Base):
    def draw(self, index: int) -> float:
        return float(users_own.f())  # type: ignore[name-defined]  # noqa: F821


NUMBERS = [torch.tensor(float(number)) for number in range(16)]


class MakesLate:
    """Collates with a generator that it makes with the first batch, as transformers' collators with `seed=` do."""

    def __init__(self) -> None:
        self.generator: Any = None

    def __call__(self, samples: list[Any]) -> Any:
        if self.generator is None:
            self.generator = np.random.default_rng(4)
        first = samples.pop(0)
        return torch.stack([first, *samples]) + self.generator.random() + random.random()


def test_a_generator_that_a_collate_fn_makes_with_its_first_batch_is_keyed_from_that_batch_on() -> None:
    whole = seen(NUMBERS, collate_fn=MakesLate())
    assert seen(NUMBERS, collate_fn=MakesLate(), num_workers=2) == whole
    peeked = loader(NUMBERS, shuffle=False, collate_fn=MakesLate())
    assert peeked.peek().tolist() == whole[0][0]
    iterated = iter(peeked)
    next(iterated)
    state = peeked.state_dict()
    resumed = loader(NUMBERS, shuffle=False, collate_fn=MakesLate())
    resumed.load_state_dict(state)
    assert epochs(resumed) == [whole[0][1:], whole[1]]
