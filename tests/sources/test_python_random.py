"""Python's generator: the bytes of the twister and the public state are the same thing."""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic import reproducible
from deterministic.ground.config import Config
from deterministic.sources import python_random as module
from deterministic.sources.python_random import PythonRandom, _TwisterBytes, layout_holds

CASES = [(position, gauss) for position in (1, 2, 623, 624) for gauss in (None, -0.75)]
cases = pytest.mark.parametrize(("position", "gauss"), CASES)


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with reproducible(seed=None, deterministic=False):
        layout_holds.cache_clear()
        yield
        layout_holds.cache_clear()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> PythonRandom:
    """The source under a Python with another layout in memory."""
    monkeypatch.setattr(module, "layout_holds", lambda: False)
    return PythonRandom()


def put(position: int, gauss: float | None) -> None:
    """Put the generator at a position of its words, with a Gaussian ready or without."""
    random.seed(7)
    version, words, _ = random.getstate()
    random.setstate((version, (*words[:-1], position), gauss))


def draw() -> list[float]:
    return [random.gauss(0, 1), random.random(), random.gauss(0, 1), random.getrandbits(70)]


def test_the_layout_is_what_this_python_has() -> None:
    assert layout_holds()
    assert isinstance(PythonRandom().capture(), _TwisterBytes)


@cases
def test_saving_changes_nothing_and_giving_back_is_exact(position: int, gauss: float | None) -> None:
    put(position, gauss)
    before, source = random.getstate(), PythonRandom()
    state = source.capture()
    assert random.getstate() == before
    drawn = draw()
    for _ in range(2):
        source.restore(state)
        assert random.getstate() == before
        assert draw() == drawn


@cases
def test_the_fast_and_the_slow_way_save_the_same(position: int, gauss: float | None, slow: PythonRandom) -> None:
    put(position, gauss)
    fast = PythonRandom()
    fast._address = module.address(fast._generator)
    quick, full = fast.capture(), slow.capture()
    assert isinstance(quick, _TwisterBytes)
    assert full == random.getstate()
    assert fast.encode(quick) == slow.encode(full)
    assert fast.describe(quick) == slow.describe(full)
    drawn = draw()
    for source, state in ((fast, quick), (fast, full), (slow, quick), (slow, full)):
        draw()
        source.restore(state)
        assert draw() == drawn


@given(seed=st.integers(0, 2**64 - 1), words=st.integers(0, 1300), gaussians=st.integers(0, 3))
def test_saving_is_exact_wherever_the_generator_stands(seed: int, words: int, gaussians: int) -> None:
    random.seed(seed)
    random.getrandbits(32 * words + 1)
    for _ in range(gaussians):
        random.gauss(0, 1)
    before, source = random.getstate(), PythonRandom()
    state = source.capture()
    draw()
    source.restore(state)
    assert random.getstate() == before


@cases
def test_an_encoded_state_is_plain_and_comes_back(position: int, gauss: float | None) -> None:
    put(position, gauss)
    source = PythonRandom()
    plain = source.encode(source.capture())
    assert [type(part) for part in plain[:2]] == [int, list]
    drawn = draw()
    source.restore(source.decode(plain))
    assert draw() == drawn


def test_a_saved_state_does_not_change_later() -> None:
    source = PythonRandom()
    state = source.capture()
    before = source.describe(state)
    random.seed(1)
    draw()
    assert source.describe(state) == before != source.describe(source.capture())


def test_the_description_tells_a_gaussian_held_ready_apart() -> None:
    source = PythonRandom()
    put(3, None)
    bare = source.describe(source.capture())
    put(3, 0.5)
    assert source.describe(source.capture()) != bare


def test_bytes_in_another_order_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    string_at = ctypes.string_at
    monkeypatch.setattr(ctypes, "string_at", lambda address, size: string_at(address, size)[::-1])
    assert not layout_holds()
    assert PythonRandom().capture() == random.getstate()


def test_a_python_that_is_not_cpython_goes_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    monkeypatch.setattr(ctypes, "string_at", lambda *_: pytest.fail("memory was read"))
    assert not layout_holds()
    assert PythonRandom().capture() == random.getstate()


def test_a_python_that_keeps_fewer_bytes_goes_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TWISTER", struct.Struct("i700I"))
    monkeypatch.setattr(ctypes, "string_at", lambda *_: pytest.fail("memory was read"))
    assert not layout_holds()


def test_without_the_layout_a_scope_seeds_and_gives_back_all_the_same(slow: PythonRandom) -> None:
    put(624, 0.5)
    before = random.getstate()
    state = slow.capture()
    slow.apply(Config(3))
    assert random.random() == random.Random(3).random()
    slow.restore(state)
    assert random.getstate() == before
