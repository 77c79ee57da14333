"""Shuffled orders, of which any part can be had alone: which index comes at a place, and at which place an index comes.

The permutation of a billion takes gigabytes and minutes before the first sample. A cipher makes none: it says of each
number by which it is replaced, and none comes twice, since it can be undone. Here it is one for any length, by the
generalised Feistel network and the cycle walking of Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA
2002. That a loader can shuffle so is Grain's idea (`index_shuffle`).
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from ..samples.states import mix

Words: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"
"""64 bits each: numpy's unsigned integers wrap around as a hash wants them to, on every platform."""

WHOLE = 65_536
"""Up to this length an order is drawn whole: it takes 2 ms then and half a MB, and less a sample than the rounds do."""

_ROUNDS = 12
"""With 6, some orders of 3 to 6 samples come oftener than others; with 10, half a million orders do not show it."""
_LEAST = 4  # the shortest side: with 2, the rounds mix so slowly that twice as many would be needed

_GOLDEN = 0x9E3779B97F4A7C15
_HALF = np.uint64(32)


class Arrangement:
    """A way to arrange the indices from 0 to a length, one to one and known at any place. This one: as they are."""

    def at(self, places: Words) -> Words:
        """Return the indices at these places, in an array of the same shape."""
        return places

    def place_of(self, index: int) -> int:
        """Return the place at which an index comes."""
        return index


class Shuffled(Arrangement):
    """An order chosen by 64 bits. Short ones are numpy's RandomState's, whose stream is frozen for good (NEP 19)."""

    def __init__(self, length: int, key: int) -> None:
        self._length = length
        self._key = _hashed(np.array([key], np.uint64))
        self._whole: np.ndarray[Any, Any] | None = None
        if length <= WHOLE:
            self._whole = np.random.RandomState([key & 0xFFFFFFFF, key >> 32]).permutation(length)

    def at(self, places: Words) -> Words:
        if self._whole is not None:
            return self._whole[places].astype(np.uint64)
        return bijection(places, self._length, self._key)

    def place_of(self, index: int) -> int:
        if self._whole is not None:
            return int(np.flatnonzero(self._whole == index)[0])
        return int(bijection(np.array([index], np.uint64), self._length, self._key, undo=True)[0])


class Blocks(Arrangement):
    """The order of blocks of neighbours, and of the samples in each, shuffled; the last block may be a shorter one."""

    def __init__(self, length: int, size: int, key: int) -> None:
        self._size = size = max(1, min(size, length))
        self._last = -(-length // size) - 1
        self._lacking = (self._last + 1) * size - length  # what the last block is shorter by
        self._blocks = Shuffled(self._last + 1, key)
        self._key = np.uint64(mix(key + _GOLDEN))
        slot = self._blocks.place_of(self._last) if length else 0
        self._behind = (slot + 1) * size - self._lacking  # the first place behind the last block

    def at(self, places: Words) -> Words:
        moved = places + np.uint64(self._lacking) * (places >= np.uint64(self._behind))
        slots, within = np.divmod(moved, np.uint64(self._size))
        blocks = self._blocks.at(slots)
        keys = _hashed(blocks + self._key)
        indices = bijection(within, self._size, keys)
        if self._lacking and (short := blocks == self._last).any():
            indices[short] = bijection(within[short], self._size - self._lacking, keys[short])
        return indices + blocks * np.uint64(self._size)

    def place_of(self, index: int) -> int:
        block, within = divmod(index, self._size)
        length = self._size - (self._lacking if block == self._last else 0)
        keys = _hashed(np.array([block], np.uint64) + self._key)
        place = self._blocks.place_of(block) * self._size
        place += int(bijection(np.array([within], np.uint64), length, keys, undo=True)[0])
        return place if place < self._behind else place - self._lacking


def bijection(numbers: Words, length: int, keys: Words, *, undo: bool = False) -> Words:
    """Return by what each of these numbers is replaced: one to one within 0 <= number < length.

    A round adds to one of two coordinates a hash of the other. The rectangle that they span is a little larger than
    the length, so what comes to lie beyond it is replaced again until it does not. The length is below 2**63, and there
    is a key for all numbers or one for each: hashed, since keys that are close give orders that are alike. To `undo` it
    is to return what each of them came from. 100 to 200 ns a number where there are thousands of them.
    """
    if length == 1:  # the rectangle would be far too large for it
        return np.zeros_like(numbers)
    found = _replaced(numbers, length, keys, undo)
    while (beyond := found >= np.uint64(length)).any():
        found[beyond] = _replaced(found[beyond], length, np.broadcast_to(keys, found.shape)[beyond], undo)
    return found


def _replaced(numbers: Words, length: int, keys: Words, undo: bool) -> Words:
    rows, columns = _sides(length)
    sides = np.uint64(rows), np.uint64(columns)
    halves: list[Words] = [*np.divmod(numbers, sides[1])]
    for number in range(_ROUNDS)[:: -1 if undo else 1]:
        which = number % 2
        # The round keys are a Weyl sequence, as splitmix64 and Philox have them.
        added = _hashed(halves[1 - which] + (keys + np.uint64(number * _GOLDEN % 2**64)))
        added >>= _HALF
        added *= sides[which]
        added >>= _HALF
        if undo:
            np.subtract(sides[which], added, out=added)
        added += halves[which]
        halves[which] = np.minimum(added, added - sides[which])  # modulo: what is below wraps around, and is larger
    return halves[0] * sides[1] + halves[1]


def _sides(length: int) -> tuple[int, int]:
    """Return the sides of a rectangle, close to a square, of at least this area.

    One of them is even, for if both were odd no round could ever make an odd permutation.
    """
    rows = max(_LEAST, math.isqrt(max(length, 1) - 1) + 1)
    columns = max(_LEAST, -(-length // rows))
    return rows, columns + rows * columns % 2


def _hashed(words: Words) -> Words:
    """Hash each of these, in place, with two rounds of splitmix64's finaliser; the upper half is mixed best."""
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> _HALF
    words *= np.uint64(0x94D049BB133111EB)
    return words
