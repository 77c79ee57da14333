"""`generators=[...]`: the user's own generators are saved, seeded each by a key of its own, and given back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import derive_seed, reproducible
from deterministic.sources.own_generators import OwnGenerator, own_generators
from deterministic.testing import check_source

from ..ids import without_address

MAKERS: dict[str, Callable[[], Any]] = {
    "torch": torch.Generator,
    "random": lambda: random.Random(1),
    "randomstate": lambda: np.random.RandomState(1),
    "pcg64": lambda: np.random.default_rng(1),
    "pcg64dxsm": lambda: np.random.Generator(np.random.PCG64DXSM(1)),
    "mt19937": lambda: np.random.Generator(np.random.MT19937(1)),
    "philox": lambda: np.random.Generator(np.random.Philox(1)),
    "sfc64": lambda: np.random.Generator(np.random.SFC64(1)),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def draw(generator: Any) -> list[float]:
    """Draw so that what a generator holds ready (a normal deviate, half a word) is used too."""
    if isinstance(generator, torch.Generator):
        values: list[float] = torch.randn(3, dtype=torch.float64, generator=generator).tolist()
        return values
    if isinstance(generator, random.Random):
        return [generator.gauss(0, 1), generator.random()]
    if isinstance(generator, np.random.RandomState):
        return [float(generator.standard_normal()), float(generator.randint(2**31))]
    return [float(generator.integers(2**31, dtype=np.uint32)), float(generator.standard_normal())]


@makers
def test_it_keeps_the_contract_of_a_source(make: Callable[[], Any]) -> None:
    generator = make()
    draw(generator)
    check_source(OwnGenerator(generator, 0))


@makers
def test_it_starts_from_the_seed_at_every_entry_and_goes_on_afterwards(make: Callable[[], Any]) -> None:
    mine, twin = make(), make()
    if isinstance(twin, torch.Generator):
        twin.set_state(mine.get_state())
    assert draw(mine) == draw(twin)
    inside = []
    for seed in (3, 3, 4, 2**40):
        with reproducible(seed, generators=[mine]):
            inside.append(draw(mine))
    assert inside[0] == inside[1]
    assert len({tuple(values) for values in inside}) == 3
    assert [draw(mine), draw(mine)] == [draw(twin), draw(twin)]


@makers
def test_what_was_drawn_before_does_not_matter(make: Callable[[], Any]) -> None:
    inside = []
    for draws_before in range(3):
        generator = make()
        for _ in range(draws_before):
            draw(generator)
        with reproducible(3, generators=[generator]):
            inside.append(draw(generator))
    assert inside[0] == inside[1] == inside[2]


@makers
def test_without_a_seed_it_goes_on_inside_and_is_given_back(make: Callable[[], Any]) -> None:
    generator = make()
    with reproducible(seed=None, generators=[generator]):
        inside = draw(generator)
    assert draw(generator) == inside


@makers
def test_its_state_travels_as_plain_values(make: Callable[[], Any]) -> None:
    generator = make()
    draw(generator)
    source = OwnGenerator(generator, 0)
    plain = source.encode(source.capture())
    ahead = draw(generator)
    source.restore(source.decode(plain))
    assert draw(generator) == ahead


def test_each_has_a_key_of_its_own_that_depends_on_its_place() -> None:
    first, second = torch.Generator(), torch.Generator()
    with reproducible(3, generators=[first, second]):
        assert first.initial_seed() == derive_seed(3, "generators", 0)
        assert second.initial_seed() == derive_seed(3, "generators", 1)


def test_they_do_not_change_the_draws_of_the_global_generators() -> None:
    with reproducible(3):
        expected = random.random(), np.random.rand(), torch.rand(1).item()
    with reproducible(3, generators=(make() for make in MAKERS.values())):
        assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_a_nested_scope_that_names_the_same_generator_gives_it_back_to_the_outer_one() -> None:
    generator = torch.Generator()
    before = generator.get_state()
    with reproducible(3, generators=[generator]):
        undisturbed = draw(generator), draw(generator)
    with reproducible(3, generators=[generator]):
        first = draw(generator)
        with reproducible(4, generators=[torch.Generator(), generator]):
            draw(generator)
        assert (first, draw(generator)) == undisturbed
    assert torch.equal(generator.get_state(), before)


def test_a_generator_that_no_scope_names_is_left_alone() -> None:
    generator = np.random.default_rng(1)
    with reproducible(3):
        first = draw(generator)
    assert [first, draw(generator)] == [draw(twin := np.random.default_rng(1)), draw(twin)]


@pytest.mark.parametrize(
    "other", [3, "x", None, random, np.random, random.SystemRandom(), np.random.PCG64(1)], ids=without_address
)
def test_anything_else_is_refused_by_its_place_and_type(other: Any) -> None:
    with pytest.raises(TypeError, match=r"generators\[1\] is not a generator"):
        own_generators([torch.Generator(), other])


def test_a_generator_listed_twice_is_refused_with_both_places() -> None:
    generator = random.Random()
    with pytest.raises(ValueError, match=r"generators\[0\]\n  generators\[2\]"):
        own_generators([generator, random.Random(), generator])


@pytest.mark.parametrize("kind", [torch.Generator, np.random.Generator, random.Random])
def test_the_class_of_a_generator_is_none(kind: Any) -> None:
    with pytest.raises(TypeError, match=rf"found: the class .*{kind.__name__}\n.*\nPass .*: torch\.Generator\(\), "):
        reproducible(seed=42, generators=[kind])
