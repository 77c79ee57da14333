"""Generators that a dataset holds: found wherever they are, keyed for each sample, and given back."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset

from deterministic import make_loader, reproducible
from deterministic.errors import DeterministicError, NotReproducibleError
from deterministic.testing import check_dataset

from .datasets import epochs, loader

KINDS: dict[str, Callable[[], Any]] = {
    "PCG64": np.random.default_rng,
    "PCG64DXSM": lambda: np.random.Generator(np.random.PCG64DXSM()),
    "SFC64": lambda: np.random.Generator(np.random.SFC64()),
    "Philox": lambda: np.random.Generator(np.random.Philox()),
    "MT19937": lambda: np.random.Generator(np.random.MT19937()),
    "RandomState": np.random.RandomState,
    "random.Random": random.Random,
    "torch.Generator": lambda: torch.Generator().manual_seed(random.SystemRandom().randrange(2**20, 2**60)),
}


def draw(generator: Any) -> list[float]:
    """Draw a uniform and a normal number: the normal one may leave half of a pair behind."""
    if isinstance(generator, torch.Generator):
        return [torch.rand((), generator=generator).item(), torch.randn((), generator=generator).item()]
    return [generator.random(), generator.gauss(0, 1) if hasattr(generator, "gauss") else generator.standard_normal()]


class Holds(Dataset[Any]):
    """The index, and what its generators give."""

    def __init__(self, *generators: Any) -> None:
        self.generators = generators

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([index, *(one for held in self.generators for one in draw(held))], dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_of_each_kind_draws_by_the_sample_s_key_and_its_path(kind: str) -> None:
    def seen(**arguments: Any) -> Any:
        return epochs(loader(Holds(KINDS[kind](), KINDS[kind]()), **arguments))

    first = seen()
    assert seen() == first == seen(batch_size=8, prefetch_factor=1, num_workers=1)
    rows = [row for epoch in first for batch in epoch for row in batch]
    assert len({number for row in rows for number in row[1:]}) == 4 * len(rows)
    assert seen(seed=8) != first != seen(held="leave")
    check_dataset(lambda: Holds(KINDS[kind]()))


@pytest.mark.parametrize("kind", KINDS)
def test_without_workers_the_user_s_own_use_of_a_generator_goes_on(kind: str) -> None:
    generator, alone = KINDS[kind](), KINDS[kind]()
    copy = Holds(generator)
    state = "state" if kind in ("PCG64", "PCG64DXSM", "SFC64", "Philox", "MT19937") else None
    draw(generator)
    if state:
        alone.bit_generator.state = generator.bit_generator.state
    elif kind == "random.Random":
        alone.setstate(generator.getstate())
    else:
        alone.set_state(generator.get_state())
    iterated = loader(copy, batch_size=4)
    batches = iter(iterated)
    for _ in range(2):
        next(batches)
        assert draw(generator) == draw(alone)
    iterated.replay(0, 3)
    iterated.peek()
    iterated.check()
    assert draw(generator) == draw(alone)


module_level = np.random.default_rng()


def helper() -> float:
    return float(module_level.random())


class Shared:
    generator = np.random.RandomState()

    def __call__(self) -> float:
        return float(self.generator.rand())


class Slots:
    __slots__ = ("generator", "unset")

    def __init__(self) -> None:
        self.generator = random.Random()

    def __call__(self) -> float:
        return self.generator.random()


def closure() -> Callable[[], float]:
    generator = np.random.default_rng()
    return lambda: float(generator.random())


def default(generator: Any = np.random.default_rng()) -> float:  # noqa: B008
    return float(generator.random())


def in_a_comprehension() -> list[float]:
    return [float(module_level.random()) for _ in range(2)]


class Calls(Dataset[Any]):
    """Calls something for each sample."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.call()


class Lazy:
    """Makes its generator when it is first called, and another one at the third call."""

    def __init__(self) -> None:
        self.calls = 0
        self.generator: Any = None

    def __call__(self) -> list[float]:
        self.calls += 1
        if self.generator is None:
            self.generator = np.random.default_rng()
        if self.calls >= 3 and not hasattr(self, "other"):
            self.other = random.Random()
        return [float(self.generator.random()), self.other.random() if hasattr(self, "other") else 0.0]


PLACES: dict[str, Callable[[], Callable[[], Any]]] = {
    "a closure": closure,
    "a default": lambda: default,
    "a bound method": lambda: np.random.default_rng().random,
    "a partial": lambda: functools.partial(default, np.random.default_rng()),
    "a class": Shared,
    "a slot": Slots,
    "a global of a function it calls": lambda: helper,
    "a comprehension": lambda: in_a_comprehension,
    "a module": lambda: _Noise(),
}


class _Noise(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(random.SystemRandom().randrange(2**20, 2**60))

    def forward(self) -> torch.Tensor:
        return torch.rand(2, generator=self.generator)


@pytest.mark.parametrize("place", PLACES)
def test_a_generator_is_found_in(place: str) -> None:
    make_loader(Calls(PLACES[place]()), seed=0).check()
    with pytest.raises(NotReproducibleError):
        make_loader(Calls(PLACES[place]()), seed=0, held="leave").check()
    with pytest.raises(DeterministicError, match="holds generators of its own"):
        make_loader(Calls(PLACES[place]()), seed=0, held="refuse")


def test_one_that_is_made_while_samples_are_made_is_keyed_from_the_first_on() -> None:
    def seen(**arguments: Any) -> list[Any]:
        return list(make_loader(Calls(Lazy()), 6, seed=0, collate_fn=list, **arguments))

    class First(Lazy):
        def __call__(self) -> list[float]:
            return super().__call__()[:1]

    make_loader(Calls(First()), seed=0).check()
    assert seen() == seen() == seen(num_workers=1)
    with pytest.raises(DeterministicError, match=r"dataset\.call\.generator: numpy\.random\.Generator \(PCG64\)"):
        next(iter(make_loader(Calls(First()), seed=0, held="refuse")))


def test_one_that_is_replaced_is_keyed_in_its_place() -> None:
    class Replaces(Holds):
        def __getitem__(self, index: int) -> Any:
            sample = super().__getitem__(index)
            if index == 1:
                self.generators = (np.random.default_rng(),)
            return sample

    def seen(dataset: Any) -> Any:
        return epochs(loader(dataset, shuffle=False), 1)

    assert seen(Replaces(np.random.default_rng())) == seen(Holds(np.random.default_rng()))
    dataset = Holds(np.random.default_rng())
    batches = iter(loader(dataset, shuffle=False, batch_size=2))
    before = [next(batches).tolist()]
    dataset.generators = (np.random.default_rng(),)
    whole = seen(Holds(np.random.default_rng()))[0]
    assert [row for batch in [*before, *(b.tolist() for b in batches)] for row in batch] == [
        row for batch in whole for row in batch
    ]


def test_a_path_does_not_depend_on_which_attribute_was_set_first_and_one_generator_has_one() -> None:
    class Two(Holds):
        def __init__(self, names: str, *, one: bool = False) -> None:
            shared = np.random.default_rng()
            for name in names:
                setattr(self, name, shared if one else np.random.default_rng())

        def __getitem__(self, index: int) -> Any:
            return torch.tensor([self.a.random(), self.b.random()], dtype=torch.float64)  # type: ignore[attr-defined]

    assert epochs(loader(Two("ab"))) == epochs(loader(Two("ba"))) != epochs(loader(Two("ba", one=True)))
    with reproducible(0) as run:
        made: Any = make_loader(Two("ba", one=True))
        assert run.report().data["loaders"][0]["notes"] == [
            "dataset.a: numpy.random.Generator (PCG64), keyed for each sample."
        ]
    assert made.keying.rows[0]["path"] == "dataset.a"


@pytest.mark.parametrize(
    "make",
    [np.random.default_rng, np.random.RandomState, lambda seed: torch.Generator().manual_seed(seed)],
    ids=["Generator", "RandomState", "torch.Generator"],
)
def test_two_seeds_of_the_user_s_give_two_streams(make: Any) -> None:
    one, other = (epochs(loader(Holds(make(seed)))) for seed in (1, 2))
    assert one != other
    assert one == epochs(loader(Holds(make(1)))) == epochs(loader(Holds(make(1)), num_workers=1))


def test_a_seed_that_was_drawn_does_not_count_for_a_run_has_to_repeat() -> None:
    def chain() -> Holds:
        drawn = np.random.default_rng()
        return Holds(np.random.RandomState(drawn.integers(2**20, 2**32)), np.random.default_rng(drawn.integers(2**63)))

    assert epochs(loader(chain())) == epochs(loader(chain()))

    def legacy(seed: int) -> Any:
        return epochs(loader(Holds(np.random.RandomState(seed))), 1)

    # One that does not say what it was made from: seeds below 2**32 are drawn for it.
    assert legacy(1000) == legacy(65_535) != legacy(999) != legacy(998)
    bits = [np.random.RandomState(np.random.MT19937(seed)) for seed in (65_534, 65_535)]
    assert epochs(loader(Holds(bits[0])), 1) != epochs(loader(Holds(bits[1])), 1)


def test_what_was_alike_when_the_loader_was_made_stays_alike() -> None:
    rows = epochs(loader(Holds(np.random.default_rng(5), np.random.default_rng(5))), 1)[0][0]
    assert all(row[1:3] == row[3:] for row in rows)


def test_datasets_in_others_and_batches_are_reached() -> None:
    def both() -> list[Any]:
        return [Holds(np.random.default_rng()), Holds(random.Random())]

    class InBatches(Holds):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [self[index] for index in indices]

    makers: list[Callable[[], Any]] = [
        lambda: Subset(both()[0], [3, 1, 2]),
        lambda: ConcatDataset(both()),
        lambda: InBatches(np.random.default_rng()),
    ]
    for make in makers:
        for randomness in ("sample", "batch"):
            seen = [epochs(loader(make(), randomness=randomness, num_workers=workers)) for workers in (0, 0, 2)]
            assert seen[0] == seen[1] == seen[2]
    make_loader(StackDataset(*both()), seed=0).check()
    made: Any = loader(InBatches(np.random.default_rng()))
    row = epochs(made, 1)[0][0][3]
    assert made.replay(0, int(row[0])).tolist() == row


class Mixup:
    def __init__(self) -> None:
        self.generator = np.random.default_rng()

    def __call__(self, samples: list[Any]) -> Any:
        return torch.stack(samples) * self.generator.random()


def test_a_collate_fn_that_holds_one_is_keyed_by_its_batch() -> None:
    def seen(**arguments: Any) -> Any:
        return epochs(loader(Holds(), collate_fn=Mixup(), **arguments))

    assert seen() == seen() == seen(num_workers=2)
    assert seen(held="leave") != seen(held="leave")


def test_a_resumed_epoch_goes_on_with_the_same_numbers() -> None:
    def made(**arguments: Any) -> Any:
        return loader(Holds(np.random.default_rng(), random.Random()), batch_size=2, **arguments)

    whole = made()
    batches = iter(whole)
    next(batches)
    state, rest = whole.state_dict(), [batch.tolist() for batch in batches]
    resumed = made(num_workers=1)
    resumed.load_state_dict(state)
    assert [batch.tolist() for batch in resumed] == rest
    assert epochs(made(num_workers=1, persistent_workers=True), 3) == epochs(made(), 3)


def test_spawned_workers_find_their_own_copies() -> None:
    def seen(**arguments: Any) -> Any:
        dataset = Holds(np.random.default_rng(), random.Random(), np.random.RandomState())
        return epochs(loader(dataset, **arguments), 1)

    assert seen() == seen(num_workers=1, multiprocessing_context="spawn")


def test_what_a_dataset_draws_in_set_epoch_is_keyed() -> None:
    class Orders(Holds):
        order: Any = None

        def set_epoch(self, epoch: int) -> None:
            self.order = self.generators[0].permutation(10)

        def __getitem__(self, index: int) -> Any:
            return torch.tensor(self.order[index])

    def seen(workers: int) -> Any:
        return epochs(loader(Orders(np.random.default_rng()), num_workers=workers))

    assert seen(0) == seen(0) == seen(1)


def test_an_odd_object_is_looked_at_and_not_called() -> None:
    class Touchy:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = object.__hash__

        @property
        def generator(self) -> Any:
            raise AssertionError

    around = Holds(np.random.default_rng())
    around.odd = [1, Touchy(), {Touchy(): 1}, np.random.mtrand._rand, random.SystemRandom()]  # type: ignore[attr-defined]
    around.itself = around  # type: ignore[attr-defined]
    made: Any = loader(around)
    assert [row["path"] for row in made.keying.rows] == ["dataset.generators[0]"]
    assert epochs(made) == epochs(loader(Holds(np.random.default_rng())))


def test_a_wrong_choice_is_refused_before_anything_moves() -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match=r"held= is[\s\S]*'keys'[\s\S]*'key'[\s\S]*'leave'[\s\S]*'refuse'"):
        make_loader([1], generator=generator, held="keys")  # type: ignore[call-overload]
    with pytest.raises(DeterministicError, match=r"dataset\.generators\[0\]: random\.Random"):
        make_loader(Holds(random.Random()), generator=generator, held="refuse")
    with pytest.raises(TypeError, match="no held"):
        make_loader([1], seed=0, randomness="worker", held="refuse")
    assert torch.equal(generator.get_state(), before)
    make_loader([1], seed=0, held="refuse")
