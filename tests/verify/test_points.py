from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deterministic._verify import points
from deterministic._verify.points import Thinned, fits, ulps_apart

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(FLOATS)
@example(float(np.finfo(np.float32).max))
def test_the_next_float_is_one_apart_on_both_sides_of_zero_too(number: float) -> None:
    one = float(np.float32(number))
    with np.errstate(over="ignore"):  # infinity follows the largest
        following = float(np.nextafter(np.float32(one), np.float32(math.inf)))
    expected = 2 if one == 0 and math.copysign(1, one) < 0 else 1  # 0.0 lies between
    assert ulps_apart(one, following, "float32") == (expected if math.isfinite(following) else 1)


@given(FLOATS, FLOATS, FLOATS)
def test_distances_add_up_along_the_line(a: float, b: float, c: float) -> None:
    a, b, c = sorted((a, b, c), key=lambda number: (number, math.copysign(1, number)))
    assert ulps_apart(a, b, "float32") + ulps_apart(b, c, "float32") == ulps_apart(a, c, "float32")


def test_each_dtype_is_counted_in_its_own_places() -> None:
    assert ulps_apart(1.0, 1.5, "bfloat16") == 64
    assert ulps_apart(1.0, 1.5, "float16") == 512
    assert ulps_apart(1.0, 1.5, "float32") == 2**22
    assert ulps_apart(1.0, 1.5, "float64") == 2**51
    assert ulps_apart(-3, 2**40, "int") == 2**40 + 3


def test_a_nan_is_infinitely_far_from_a_number_and_from_a_nan_of_other_bits() -> None:
    other = struct.unpack("<d", (0x7FF8000000000001).to_bytes(8, "little"))[0]
    assert ulps_apart(math.nan, 1.0, "float32") == math.inf
    assert ulps_apart(math.nan, other, "float64") == math.inf
    assert ulps_apart(other, struct.unpack("<d", struct.pack("<d", other))[0], "float64") == 0


def test_what_is_too_large_for_a_dtype_is_infinite_in_it() -> None:
    assert ulps_apart(1e300, math.inf, "float32") == 0
    assert ulps_apart(-1e300, -math.inf, "float32") == 0
    assert ulps_apart(1e300, -1e300, "float32") > 2**31


@pytest.mark.parametrize(
    ("number", "dtype", "expected"),
    [
        (0.5, "float16", True),
        (0.1, "float32", False),
        (float(np.float32(0.1)), "float32", True),
        (float(np.float32(0.1)), "bfloat16", False),
        (0.1, "float64", True),
        (1e300, "float32", False),
        (math.inf, "float32", True),
        (math.nan, "bfloat16", True),
    ],
)
def test_a_number_fits_a_dtype_that_has_it_exactly(number: float, dtype: str, expected: bool) -> None:
    assert fits(number, dtype) is expected


@given(st.integers(0, 300), st.sets(st.integers(0, 299)))
def test_thinning_loses_no_peak_and_leaves_exact_points_alone(count: int, exact: set[int]) -> None:
    limit, points.MOST_POINTS = points.MOST_POINTS, 8
    try:
        line: Thinned[tuple[int, int, int]] = Thinned(lambda one, other: (one[0], other[1], one[2] + other[2]))
        for at in range(count):
            (line.add_exactly if at in exact else line.add)((at, at, 1))
        found = line.points()
    finally:
        points.MOST_POINTS = limit
    assert [at for first, last, _ in found for at in range(first, last + 1)] == list(range(count))
    assert all(last - first + 1 == length for first, last, length in found)
    assert {(at, at, 1) for at in exact if at < count} <= set(found)
    assert len(found) <= (8 + 1) * (len(exact) + 1)
    assert line.is_thinned or len(found) == count
    if not exact:
        assert len({length for *_, length in found[:-1]}) <= 1  # all but the last stand for as many


def test_few_points_stay_as_they_are() -> None:
    line: Thinned[int] = Thinned(max)
    for at in range(points.MOST_POINTS):
        line.add(at)
    assert line.points() == list(range(points.MOST_POINTS))
    assert not line.is_thinned
