"""Marked tests of every kind, for the plugin: each asserts that it draws what seeding by hand gives."""

from __future__ import annotations

import json
import os
import random
import unittest
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from deterministic import Run, current_run

pytestmark = pytest.mark.reproducible(seed=1)


def draw() -> list[float]:
    """Draw from each generator; not in the default dtype, which one of the fixtures here changes."""
    uniform = torch.rand(1, dtype=torch.float32).item()
    return [random.random(), float(np.random.rand()), uniform, random.gauss(0, 1), float(np.random.randn())]


def by_hand(seed: int, times: int = 1) -> list[float]:
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    drawn = [number for _ in range(times) for number in draw()]
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    return drawn


def note(name: str, what: object) -> None:
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps([name, what]) + "\n")


@pytest.fixture(scope="session")
def of_session() -> list[float]:
    return draw()


@pytest.fixture(scope="module")
def double() -> Iterator[list[float]]:
    """Set what it gives back itself, once the last test of the module is over."""
    assert torch.are_deterministic_algorithms_enabled()
    assert current_run() is not None
    torch.set_default_dtype(torch.float64)
    yield draw()
    assert torch.get_default_dtype() == torch.float64
    assert not torch.are_deterministic_algorithms_enabled()
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def data() -> Iterator[list[float]]:
    assert torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = True  # the scope gives it back
    yield draw()
    assert torch.are_deterministic_algorithms_enabled()
    note("teardown of data", draw())


@pytest.fixture
def more_data() -> list[float]:
    return draw()


@pytest.mark.reproducible(enabled=False)
def test_a_fixture_of_marked_tests_may_be_set_up_for_another(of_session: list[float]) -> None:
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_body_draws_as_by_hand(data: list[float], more_data: list[float], of_session: list[float]) -> None:
    drawn = draw()
    assert drawn == by_hand(1)
    assert len({*data, *more_data, *of_session, *drawn}) == 20
    note("fixtures", [data, more_data, of_session])


@pytest.mark.reproducible(seed=2, deterministic="warn")
def test_the_closest_marker_wins() -> None:
    assert draw() == by_hand(2)
    assert torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.reproducible(3)
class TestOfAClass:
    def test_takes_the_marker_of_the_class(self) -> None:
        assert draw() == by_hand(3)

    @pytest.mark.reproducible
    def test_takes_its_own(self) -> None:
        assert draw() == by_hand(42)


@pytest.mark.parametrize("value", [1, 2])
def test_each_parameter_draws_from_the_seed(value: int) -> None:
    assert draw() == by_hand(1)


@pytest.mark.reproducible(seed=4)
class TestOfUnittest(unittest.TestCase):
    def setUp(self) -> None:
        self.drawn = draw()

    def test_a_method(self) -> None:
        assert torch.are_deterministic_algorithms_enabled()
        drawn = draw()
        assert drawn == by_hand(4)
        assert not {*drawn} & {*self.drawn}
        note("setUp", self.drawn)


@pytest.mark.reproducible(seed=5)
class TestOfAsyncUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_a_coroutine_method(self) -> None:
        assert draw() == by_hand(5)


@pytest.mark.reproducible(seed=6)
async def test_a_coroutine() -> None:
    assert draw() == by_hand(6)
    note("coroutine", True)


@pytest.mark.reproducible(seed=7)
def test_a_run(reproducible_run: Run) -> None:
    assert current_run() is reproducible_run
    assert reproducible_run.seed == 7
    assert "test_a_run" not in str(reproducible_run.report())
    assert f"{__file__}:" in str(reproducible_run.report())
    assert draw() == by_hand(7)
    note("stream", torch.randint(1000, (4,), generator=reproducible_run.generator("a")).tolist())


def test_a_fixture_that_the_body_asks_for(request: pytest.FixtureRequest) -> None:
    first = draw()
    data = request.getfixturevalue("data")
    assert [*first, *draw()] == by_hand(1, times=2)
    note("asked for", data)


def test_a_wider_fixture_keeps_what_it_set(double: list[float]) -> None:
    assert torch.get_default_dtype() == torch.float64
    assert draw() == by_hand(1)
    note("double", double)


@pytest.mark.reproducible(seed=None)
def test_no_seed_is_no_seed() -> None:
    assert torch.are_deterministic_algorithms_enabled()
    note("unseeded", draw())


@pytest.mark.reproducible(enabled=False)
class TestWithoutControl:
    def test_nothing_is_left_of_the_others(self) -> None:
        assert not torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        note("unmarked", draw())

    def test_not_even_a_run(self, reproducible_run: Run) -> None:
        assert reproducible_run.seed is None
        assert not torch.are_deterministic_algorithms_enabled()
