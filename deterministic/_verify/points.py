"""How far apart two numbers are, and long curves thinned out to what a picture can show."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Generic, TypeVar

P = TypeVar("P")

MOST_POINTS = 2000
"""Of one stretch of a curve: more than a picture has pixels for, and little memory however long the run is."""

_FORMATS = {"float16": "<e", "bfloat16": "<f", "float32": "<f", "float64": "<d"}


def ulps_apart(one: float, other: float, dtype: str) -> float:
    """Return how many numbers of a dtype lie between two of its numbers, 1 for neighbours; `math.inf` from a NaN.

    Whole numbers, and -0.0 and 0.0, are counted alike: by places. A number that the dtype has no place for is infinite
    in it.

    Args:
        one: One.
        other: The other.
        dtype: "float16", "bfloat16", "float32", "float64", or "int".

    Example:
        >>> ulps_apart(1.0, 1.0 + 2**-23, "float32"), ulps_apart(0.0, -0.0, "float64"), ulps_apart(3, 5, "int")
        (1, 1, 2)
    """
    if one is other:
        return 0
    if dtype == "int":
        return abs(int(one) - int(other))
    if math.isnan(one) or math.isnan(other):
        return 0 if bits_of(one) == bits_of(other) else math.inf
    return abs(_place(one, dtype) - _place(other, dtype))


def fits(number: float, dtype: str) -> bool:
    """Return whether a dtype has a number exactly."""
    try:
        packed = struct.pack(_FORMATS[dtype], number)
    except OverflowError:
        return False
    if dtype == "bfloat16" and packed[:2] != b"\0\0":
        return False
    return bool(struct.unpack(_FORMATS[dtype], packed)[0] == number) or math.isnan(number)


def bits_of(number: float) -> bytes:
    """Return the bits of a number: those of two NaNs may differ."""
    return struct.pack("<d", number)


def _place(number: float, dtype: str) -> int:
    """Return the number of its place among all numbers of the dtype, in their order."""
    try:
        packed = struct.pack(_FORMATS[dtype], number)
    except OverflowError:
        packed = struct.pack(_FORMATS[dtype], math.copysign(math.inf, number))
    if dtype == "bfloat16":
        packed = packed[2:]
    bits = int.from_bytes(packed, "little")
    sign = 1 << (8 * len(packed) - 1)
    return -(bits ^ sign) - 1 if bits & sign else bits


class Thinned(Generic[P]):
    """Points in their order: all of them up to `MOST_POINTS`, and as many again after each that is added exactly.

    Where there are more, one stands for several neighbours, never across an exact one.

    Args:
        merge: Makes one point of two neighbours.
    """

    def __init__(self, merge: Callable[[P, P], P]) -> None:
        self._merge = merge
        self._kept: list[P] = []
        self._running: list[P] = []
        self._added = 0
        self._stride = 1
        self.is_thinned = False
        """Whether any point stands for several."""

    def add(self, point: P) -> None:
        """Append a point."""
        if self._added % self._stride == 0:
            self._running.append(point)
        else:
            self._running[-1] = self._merge(self._running[-1], point)
        self._added += 1
        if len(self._running) > MOST_POINTS:
            pairs = zip(self._running[::2], [*self._running[1::2], None], strict=False)
            self._running = [one if other is None else self._merge(one, other) for one, other in pairs]
            self._stride *= 2
            self.is_thinned = True

    def add_exactly(self, point: P) -> None:
        """Append a point that stays as it is, whatever comes before and after it."""
        self._kept += [*self._running, point]
        self._running, self._added, self._stride = [], 0, 1

    def points(self) -> list[P]:
        """Return what is left of them."""
        return [*self._kept, *self._running]
