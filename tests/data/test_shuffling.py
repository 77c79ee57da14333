"""The bijection behind long orders: it is one, the same everywhere, and as random as numpy's permutation.

Every statistic is a number of standard deviations from what random permutations have, over fixed keys. It is small for
the bijection and for numpy, and large for one round, and for an affine map.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic.data.orders import shuffling
from deterministic.data.orders.shuffling import Arrangement, Blocks, Shuffled, bijection
from deterministic.data.samples.keys import epoch_key

BILLION = 10**9
LONGEST = 2**63 - 1
LENGTHS = [
    *range(1, 20),
    *(2**power + more for power in (8, 12) for more in (-1, 0, 1)),
    shuffling.WHOLE,
    shuffling.WHOLE + 1,
]

Orders = Callable[[int, int], Any]
"""So many orders of a length, one in each row."""


def words(*numbers: int) -> Any:
    return np.array(numbers, np.uint64)


def keys(count: int, seed: int = 0) -> Any:
    return np.random.RandomState(seed).randint(0, 2**64, (count, 1), np.uint64)


def ours(length: int, count: int) -> Any:
    places = np.broadcast_to(np.arange(length, dtype=np.uint64), (count, length))
    return bijection(places, length, keys(count)).astype(np.int64)


def rounds(number: int, length: int, count: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffling, "_ROUNDS", number)
        return ours(length, count)


def numpys(length: int, count: int) -> Any:
    generator = np.random.RandomState(1)
    return np.stack([generator.permutation(length) for _ in range(count)])


def affine(length: int, count: int) -> Any:
    factors = [one for one in range(2, length + 2) if math.gcd(one, length) == 1]
    return np.stack([np.arange(length) * factors[n % len(factors)] * 7 + n for n in range(count)]) % length


# It is one, for every length and everywhere.


@pytest.mark.parametrize("length", LENGTHS)
def test_every_index_comes_once_and_is_found_again(length: int) -> None:
    places = np.arange(length, dtype=np.uint64)
    for key in (0, 1, 2**64 - 1):
        indices = bijection(places, length, words(key))
        assert np.array_equal(np.sort(indices), places)
        assert np.array_equal(bijection(indices, length, words(key), undo=True), places)


@pytest.mark.parametrize("length", [BILLION, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**62, LONGEST])
def test_so_it_is_at_both_ends_of_a_long_order(length: int) -> None:
    places = np.concatenate([np.arange(2000, dtype=np.uint64), np.arange(length - 2000, length, dtype=np.uint64)])
    indices = bijection(places, length, words(3))
    assert len(set(indices.tolist())) == 4000
    assert int(indices.max()) < length
    assert np.array_equal(bijection(indices, length, words(3), undo=True), places)


@given(st.integers(1, LONGEST), st.integers(0, 2**64 - 1), st.data())
def test_at_any_length_and_key_what_is_done_is_undone(length: int, key: int, data: Any) -> None:
    place = data.draw(st.integers(0, length - 1))
    order = Shuffled(length, key)
    (index,) = order.at(words(place)).tolist()
    assert 0 <= index < length
    assert order.place_of(index) == place


def test_long_orders_are_these_for_good() -> None:
    found = {length: Shuffled(length, 42).at(words(0, 1, length - 1)).tolist() for length in FOR_GOOD}
    assert found == FOR_GOOD


FOR_GOOD: dict[int, list[int]] = {
    65_536: [27640, 10984, 52106],
    65_537: [41028, 44638, 13839],
    BILLION: [45758953, 414851919, 320738627],
    2**32 + 1: [1602245285, 698097502, 1586334192],
    LONGEST: [4111843462246876728, 5534338662516153088, 1581167930016654348],
}


def test_blocks_are_in_this_order_for_good() -> None:
    assert Blocks(10, 4, 42).at(np.arange(10, dtype=np.uint64)).tolist() == [1, 2, 3, 0, 7, 6, 4, 5, 8, 9]
    found = Blocks(BILLION, 1000, 42).at(words(0, 1, BILLION - 1)).tolist()
    assert found == [277692819, 277692190, 773966069]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**64 - 1))
def test_blocks_are_whole_and_every_index_comes_once(length: int, size: int, key: int) -> None:
    order = Blocks(length, size, key)
    indices = order.at(np.arange(length, dtype=np.uint64)).tolist()
    assert sorted(indices) == list(range(length))
    assert [order.place_of(index) for index in indices] == list(range(length))
    changes = sum(one // size != other // size for one, other in itertools.pairwise(indices))
    assert changes == -(-length // size) - 1, "a block is left when all of it is behind, and not before"


@pytest.mark.parametrize(("length", "size"), [(BILLION, 1), (BILLION + 7, 1000), (10**12, 2**20), (LONGEST, 2**40)])
def test_blocks_of_a_long_order_are_blocks_too(length: int, size: int) -> None:
    order = Blocks(length, size, 5)
    for start in (0, length - 3000):
        places = np.arange(start, start + 3000, dtype=np.uint64)
        indices = order.at(places).tolist()
        assert len(set(indices)) == 3000
        assert max(indices) < length
        assert [order.place_of(index) for index in indices[:50]] == places[:50].tolist()
    last = order.place_of(length - 1)
    assert order.at(words(last)).tolist() == [length - 1]


def test_the_samples_of_each_block_are_in_an_order_of_their_own() -> None:
    within = Blocks(100 * 8, 8, 1).at(np.arange(800, dtype=np.uint64)).reshape(100, 8) % np.uint64(8)
    assert len({tuple(row) for row in within.tolist()}) > 95


def test_without_shuffling_places_are_indices() -> None:
    assert Arrangement().at(words(3, LONGEST)).tolist() == [3, LONGEST]
    assert Arrangement().place_of(LONGEST) == LONGEST


# It is as random as a permutation of numpy's.


def deviation(counts: Any, expected: Any, freedom: int) -> float:
    """Return how far a chi-square is from its mean, in standard deviations: too much of one, or too even."""
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


def indices_at_places(orders: Any) -> float:
    """Is an index as likely at one place as at another? On a grid of 16 by 16."""
    count, length = orders.shape
    places = np.broadcast_to(np.arange(length), orders.shape)
    counts = np.stack([_grid(places[n], row, length) for n, row in enumerate(orders)])
    return deviation(counts, length / 256, 225 * count)  # of the 256, the margins of each order are given


def indices_of_neighbours(orders: Any) -> float:
    """Is the index at the next place independent of this one? On the same grid."""
    _count, length = orders.shape
    counts = sum(_grid(row[:-1], row[1:], length) for row in orders)
    return deviation(counts, counts.sum() / 256, 225)  # the margins are given here too, all but a few


def differences(orders: Any) -> float:
    """Are the differences between neighbours spread evenly?"""
    length = orders.shape[1]
    counts = np.bincount(((np.diff(orders) % length - 1) * 16 // (length - 1)).ravel(), minlength=16)
    sizes = np.bincount(np.arange(length - 1) * 16 // (length - 1), minlength=16)
    return deviation(counts, counts.sum() * sizes / (length - 1), 15)


def ascents(orders: Any) -> float:
    """Does it go up as often as down?"""
    count, length = orders.shape
    return float(((np.diff(orders) > 0).sum() - count * (length - 1) / 2) / math.sqrt(count * (length + 1) / 12))


def turns(orders: Any) -> float:
    """Does it turn, from up to down or back, as often as it should: are the runs as long?"""
    count, length = orders.shape
    found = (np.diff((np.diff(orders) > 0).astype(int)) != 0).sum()
    return float((found - count * 2 * (length - 2) / 3) / math.sqrt(count * (16 * length - 29) / 90))


def correlations(orders: Any) -> float:
    """Are indices uncorrelated with those some places later? The worst of some lags."""
    count, length = orders.shape
    centred = (orders - (length - 1) / 2) / math.sqrt((length**2 - 1) / 12)
    lags = (1, 2, 3, 7, 16, 64, round(math.sqrt(length)))
    return max(
        abs(float((centred[:, lag:] * centred[:, :-lag]).sum())) / math.sqrt(count * (length - lag)) for lag in lags
    )


def fixed_points(orders: Any) -> float:
    """Does it leave one index in its place, on average and with the variance of Poisson's distribution?"""
    found = (orders == np.arange(orders.shape[1])).sum(axis=1)
    return float((((found - 1) ** 2).sum() - len(orders)) / math.sqrt(3 * len(orders)))


def parity(orders: Any) -> float:
    """Are half of them odd?"""
    odd = sum(_is_odd(row) for row in orders.tolist())
    return (odd - len(orders) / 2) / math.sqrt(len(orders) / 4)


def small_orders(orders: Any) -> float:
    """Does every order of so few come equally often?"""
    count, length = orders.shape
    codes = (orders * length ** np.arange(length)).sum(axis=1)
    found = np.unique(codes, return_counts=True)[1]
    every = math.factorial(length)
    return deviation(np.pad(found, (0, every - len(found))), count / every, every - 1)


def _grid(one: Any, other: Any, length: int) -> Any:
    return np.bincount(one * 16 // length * 16 + other * 16 // length, minlength=256)


def _name(one: Any) -> str:
    return str(getattr(one, "__name__", one))


def _is_odd(order: list[int]) -> bool:
    seen, odd = [False] * len(order), False
    for start in range(len(order)):
        at, odd = start, odd ^ (not seen[start])
        while not seen[at]:
            seen[at], at = True, order[at]
    return odd ^ (len(order) % 2 == 1)


GOOD: list[Orders] = [ours, numpys]
SIZES = {4096: 100, 1008: 200}
LONG = [indices_at_places, indices_of_neighbours, differences, ascents, turns, correlations, fixed_points]


@pytest.mark.parametrize("length", SIZES)
@pytest.mark.parametrize("statistic", LONG, ids=_name)
@pytest.mark.parametrize("orders", GOOD, ids=_name)
def test_it_has_what_random_orders_have(orders: Orders, statistic: Any, length: int) -> None:
    assert abs(statistic(orders(length, SIZES[length]))) < 4


@pytest.mark.parametrize("orders", GOOD, ids=_name)
@pytest.mark.parametrize("length", [9, 16, 25, 30, 36, 100])
def test_half_of_the_orders_are_odd(orders: Orders, length: int) -> None:
    assert abs(parity(orders(length, 2000))) < 4


@pytest.mark.parametrize("orders", GOOD, ids=_name)
@pytest.mark.parametrize("length", [2, 3, 4, 5, 6])
def test_every_order_of_a_few_comes_equally_often(orders: Orders, length: int) -> None:
    assert abs(small_orders(orders(length, 60_000))) < 4


WEAK = {"one round": [one for one in LONG if one is not turns], "an affine map": LONG}


@pytest.mark.parametrize(("weak", "statistic"), [(name, one) for name in WEAK for one in WEAK[name]], ids=_name)
def test_each_statistic_tells_what_is_not_random(weak: str, statistic: Any) -> None:
    assert abs(statistic(affine(4096, 100) if weak == "an affine map" else rounds(1, 4096, 100))) > 10


def test_at_small_lengths_four_rounds_are_told() -> None:
    for length in (3, 4, 5, 6):
        assert small_orders(rounds(4, length, 60_000)) > 10


def test_without_an_even_side_no_order_is_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffling, "_sides", lambda length: (5, 5))
    assert parity(ours(25, 200)) < -10


@pytest.mark.parametrize("step", ["of epochs", "of keys"])
def test_neighbouring_epochs_have_nothing_in_common(step: str) -> None:
    length = 80_000
    made = [epoch_key(0, epoch, "order") if step == "of epochs" else epoch for epoch in range(21)]
    orders = [Shuffled(length, key).at(np.arange(length, dtype=np.uint64)).astype(np.int64) for key in made]
    same, counts = 0, np.zeros(256)
    for one, other in itertools.pairwise(orders):
        same += int((one == other).sum())
        counts += _grid(one, other, length)
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(length)
    assert 5 <= same <= 40, "as many indices stay in their places as in random orders: one an epoch"
    assert abs(deviation(counts, counts.sum() / 256, 225)) < 4


def test_places_far_apart_in_a_billion_are_as_random() -> None:
    places = np.arange(2**20, dtype=np.uint64) * np.uint64(953)
    indices = bijection(places, BILLION, words(11)).astype(np.int64)
    counts = np.bincount(indices * 1024 // BILLION, minlength=1024)
    assert abs(deviation(counts, 1024, 1023)) < 4
    neighbours = bijection(np.arange(2**20, dtype=np.uint64), BILLION, words(11)).astype(np.int64)
    counts = np.bincount(np.diff(neighbours) % BILLION * 1024 // BILLION, minlength=1024)
    assert abs(deviation(counts, (2**20 - 1) / 1024, 1023)) < 4
