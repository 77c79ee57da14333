"""numpy's global generator: the fast way and the slow one are the same, whatever stands behind `numpy.random`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic import describe, reproducible
from deterministic.errors import ResumeMismatchError
from deterministic.ground.config import Config
from deterministic.ground.seeds import numpy_seed
from deterministic.sources import numpy_random as module
from deterministic.sources.base import to_plain
from deterministic.sources.numpy_random import NumpyRandom, _PublicState, _RawTwister, layout_holds

numpy_random: Any = np.random  # its stubs lack the functions for the bit generator
# A position of 624 makes the next draw refill all words.
CASES = [(position, gauss) for position in (0, 1, 2, 622, 623, 624) for gauss in (None, -0.75)]
cases = pytest.mark.parametrize(("position", "gauss"), CASES)


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with reproducible(seed=None, deterministic=False):
        layout_holds.cache_clear()
        yield
        layout_holds.cache_clear()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> NumpyRandom:
    """The source under a numpy with another layout in memory."""
    monkeypatch.setattr(module, "layout_holds", lambda: False)
    return NumpyRandom()


def put(position: int, gauss: float | None) -> None:
    """Put the generator at a position of its words, with a Gaussian ready or without."""
    np.random.seed(7)
    key = np.random.get_state(legacy=False)["state"]["key"]
    np.random.set_state(("MT19937", key, position, int(gauss is not None), gauss or 0.0))


def now() -> Any:
    """Return the state as numpy says it, comparable."""
    return to_plain(np.random.get_state(legacy=False))


def draw() -> list[float]:
    return [np.random.standard_normal(), np.random.random(), np.random.standard_normal(), np.random.standard_normal()]


@cases
def test_saving_changes_nothing(position: int, gauss: float | None) -> None:
    put(position, gauss)
    before = now()
    source = NumpyRandom()
    assert isinstance(source.capture(), _RawTwister)
    assert now() == before
    source.capture()
    assert now() == before


@cases
def test_giving_back_is_exact(position: int, gauss: float | None) -> None:
    put(position, gauss)
    before, source = now(), NumpyRandom()
    state = source.capture()
    drawn = draw()
    for _ in range(2):
        source.restore(state)
        assert now() == before
        assert draw() == drawn


@cases
def test_the_fast_and_the_slow_way_save_the_same(position: int, gauss: float | None, slow: NumpyRandom) -> None:
    put(position, gauss)
    fast = NumpyRandom()
    fast._gaussian_at = id(numpy_random.mtrand._rand) + (module.gauss_offset() or 0)
    quick, full = fast.capture(), slow.capture()
    assert isinstance(quick, _RawTwister)
    assert isinstance(full, _PublicState)
    assert fast.encode(quick) == slow.encode(full) == now()
    assert fast.describe(quick) == slow.describe(full)
    drawn = draw()
    for state in (quick, full):
        draw()
        fast.restore(state)
        assert draw() == drawn


@cases
def test_an_encoded_state_is_plain_and_comes_back(position: int, gauss: float | None) -> None:
    put(position, gauss)
    source = NumpyRandom()
    plain = source.encode(source.capture())
    assert type(plain["state"]["key"]) is list
    drawn = draw()
    source.restore(source.decode(plain))
    assert draw() == drawn


@given(seed=st.integers(0, 2**32 - 1), normals=st.integers(0, 5), words=st.integers(0, 1300))
def test_saving_is_invisible_wherever_the_generator_stands(seed: int, normals: int, words: int) -> None:
    np.random.seed(seed)
    np.random.bytes(4 * words)
    np.random.standard_normal(normals)
    before, source = now(), NumpyRandom()
    state = source.capture()
    assert now() == before
    assert source.encode(state) == before


def test_the_layout_is_what_this_numpy_has() -> None:
    assert layout_holds()
    assert module.gauss_offset()


@pytest.mark.parametrize("seed", [3, 2**40])
def test_a_seed_that_is_asked_for_again_gives_the_same_and_no_gaussian_is_left(seed: int) -> None:
    source, drawn = NumpyRandom(), []
    for _ in range(2):
        put(5, -0.75)
        source.apply(Config(seed))
        drawn.append((now(), draw()))
    np.random.seed(numpy_seed(seed))
    assert drawn == [(now(), draw())] * 2
    for other in range(40):
        source.apply(Config(other))
    assert source._seeded.cache_info().currsize <= 16


@pytest.mark.parametrize("wrong", [lambda data: bytes(len(data)), lambda data: data[4:] + data[:4]])
def test_another_layout_is_noticed(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    string_at = ctypes.string_at
    monkeypatch.setattr(ctypes, "string_at", lambda address, size: wrong(string_at(address, size)))
    assert not layout_holds()
    assert isinstance(NumpyRandom().capture(), _PublicState)


@cases
def test_without_the_layout_a_scope_seeds_and_gives_back_all_the_same(
    position: int, gauss: float | None, slow: NumpyRandom
) -> None:
    put(position, gauss)
    before = now()
    state = slow.capture()
    slow.apply(Config(3))
    assert np.random.random() == np.random.RandomState(3).random_sample()
    draw()
    slow.restore(state)
    assert now() == before


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_another_bit_generator_is_seeded_and_given_back_with_its_gaussian(kind: str) -> None:
    mine = getattr(np.random, kind)(5)
    numpy_random.set_bit_generator(mine)
    np.random.standard_normal()
    np.random.set_state({**np.random.get_state(legacy=False), "has_gauss": 1, "gauss": 7.5})
    before, inside = now(), []
    for seed in (3, 3, 4):
        with reproducible(seed, deterministic=False):
            inside.append([np.random.random(), np.random.random()])
        assert now() == before
        assert numpy_random.get_bit_generator() is mine
    assert inside[0] == inside[1] != inside[2]
    assert np.random.standard_normal() == 7.5


def test_seeding_another_bit_generator_drops_the_gaussian_that_it_holds_ready() -> None:
    numpy_random.set_bit_generator(np.random.PCG64(5))
    first = []
    for gauss in (7.5, -7.5):
        np.random.set_state({**np.random.get_state(legacy=False), "has_gauss": 1, "gauss": gauss})
        with reproducible(3, deterministic=False):
            first.append(np.random.standard_normal())
    assert first[0] == first[1]


def test_the_object_that_the_user_holds_is_in_place_again_and_at_its_position() -> None:
    mine = np.random.MT19937(5)
    numpy_random.set_bit_generator(mine)
    twin = np.random.MT19937(5)
    with reproducible(0, deterministic=False):
        numpy_random.set_bit_generator(np.random.PCG64(1))
        draw()
        mine.random_raw(3)
    assert numpy_random.get_bit_generator() is mine
    assert mine.random_raw(3).tolist() == twin.random_raw(3).tolist()


def test_an_armed_gaussian_survives_a_bit_generator_put_in_place_inside() -> None:
    put(623, 1.25)
    before = now()
    with reproducible(seed=None, deterministic=False):
        numpy_random.set_bit_generator(np.random.SFC64(1))
    assert now() == before


def test_a_subclass_of_the_twister_goes_the_slow_way() -> None:
    class Mine(np.random.MT19937):
        pass

    numpy_random.set_bit_generator(Mine(1))
    assert isinstance(NumpyRandom().capture(), _PublicState)


def test_the_description_names_the_bit_generator_and_tells_states_apart() -> None:
    put(3, None)
    first = describe()["numpy.random"]
    put(3, 0.5)
    armed = describe()["numpy.random"]
    numpy_random.set_bit_generator(np.random.Philox(1))
    other = describe()["numpy.random"]
    assert first["bit_generator"] == armed["bit_generator"] == "MT19937"
    assert other["bit_generator"] == "Philox"
    assert len({str(each["digest"]) for each in (first, armed, other)}) == 3


@pytest.mark.parametrize("kind", ["PCG64", "Philox", "SFC64"])
def test_the_state_of_another_bit_generator_travels(kind: str) -> None:
    numpy_random.set_bit_generator(getattr(np.random, kind)(5))
    source = NumpyRandom()
    plain = source.encode(source.capture())
    drawn = draw()
    source.restore(source.decode(plain))
    assert draw() == drawn


def test_a_saved_state_of_another_bit_generator_is_refused_with_both_names() -> None:
    source = NumpyRandom()
    plain = source.encode(source.capture())
    numpy_random.set_bit_generator(np.random.PCG64(1))
    with pytest.raises(ResumeMismatchError, match="found: PCG64\n  saved: MT19937"):
        source.decode(plain)
