"""The generator behind the functions of Python's `random`."""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..ground.config import Config
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import digest, in_memory, python_state, seeded

_TWISTER = struct.Struct("i624I")
"""The Mersenne Twister as CPython's `_random.Random` holds it, after the object's head: position, then 624 words."""


class _TwisterBytes(NamedTuple):
    """The bytes of the twister, and the Gaussian that `random.gauss` holds ready, if any."""

    data: bytes
    gauss_next: float | None


PythonState: TypeAlias = "_TwisterBytes | tuple[Any, ...]"


class PythonRandom:
    """`random.seed`, `random.random` and the rest, with the cached Gaussian of `random.gauss`.

    getstate and setstate convert 624 words to Python objects and back, 12 us of a scope's 60; copying the 2,500 bytes
    takes 1 us. Whether they lie where they are looked for is checked once against getstate and setstate of another
    instance; where they do not (or not under CPython), the slow way is taken.
    """

    name = "python.random"
    kind: SourceKind = "rng"

    def __init__(self) -> None:
        self._generator: Any = random.random.__self__  # type: ignore[attr-defined]
        self._address = address(self._generator) if layout_holds() else None
        self._seeded = lru_cache(maxsize=16)(self._seed)  # copied where a seed is asked for again

    def capture(self) -> PythonState:
        if self._address is None:
            return random.getstate()
        return _TwisterBytes(ctypes.string_at(self._address, _TWISTER.size), self._generator.gauss_next)

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        if self._address is None:
            random.seed(config.seed)
        else:
            self.restore(_TwisterBytes(self._seeded(config.seed), None))
        return seeded(config.seed)

    def _seed(self, seed: int) -> bytes:
        random.seed(seed)
        return ctypes.string_at(self._address or 0, _TWISTER.size)

    def restore(self, state: PythonState) -> None:
        if self._address is None or not isinstance(state, _TwisterBytes):
            random.setstate(_as_public(state))
            return
        ctypes.memmove(self._address, state.data, _TWISTER.size)
        self._generator.gauss_next = state.gauss_next

    def describe(self, state: PythonState) -> dict[str, JSON]:
        return {"digest": digest(repr(_as_public(state)).encode())}

    def encode(self, state: PythonState) -> list[Any]:
        version, words, gauss_next = _as_public(state)
        return [version, list(words), gauss_next]

    def decode(self, plain: list[Any]) -> PythonState:
        return python_state(plain)


def _as_public(state: PythonState) -> tuple[Any, ...]:
    """Return what `random.getstate` returns for this state."""
    if not isinstance(state, _TwisterBytes):
        return state
    position, *words = _TWISTER.unpack(state.data)
    return random.Random.VERSION, (*words, position), state.gauss_next


def address(generator: random.Random) -> int:
    """Return where the twister of a generator lies: its position, then its words."""
    return id(generator) + object.__basicsize__


def memory(generator: random.Random) -> np.ndarray[Any, np.dtype[np.uint32]] | None:
    """Return the position and the 624 words of a generator, where they lie; None: nobody knows where."""
    return in_memory(generator, address(generator), 625) if layout_holds() else None


@cache
def layout_holds() -> bool:
    """Return whether reading and writing the bytes of two scratch generators does what getstate and setstate do."""
    if sys.implementation.name != "cpython" or random.Random.__basicsize__ < object.__basicsize__ + _TWISTER.size:
        return False
    one, other = random.Random(1), random.Random(2)
    one.random()
    data = ctypes.string_at(address(one), _TWISTER.size)
    if _as_public(_TwisterBytes(data, None)) != one.getstate():
        return False
    ctypes.memmove(address(other), data, _TWISTER.size)
    return other.getstate() == one.getstate()
