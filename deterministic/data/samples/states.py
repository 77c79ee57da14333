"""States: a generator put where a key says, by writing all of its state and not by seeding it.

numpy and torch take 32 bits of a seed, so of a million samples some hundred pairs would draw the same; spreading it
over 624 words takes microseconds, and the first draw makes them anew. Written instead are as many fresh words of a
generator whose state is the key: all of its 64 bits count, and the first draw takes the first word.

Where Python's or numpy's twister is not laid out in memory as it is known, the words go through its public methods,
as torch's always do: the draws are the same.
"""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator

from ...errors import DeterministicError
from ...sources import numpy_random, python_random, torch_cpu
from ...sources.base import TORCH_TWISTER, in_memory

Write: TypeAlias = Callable[[int, Any], None]
"""Puts one generator where a key says, with words that were made of it."""

_MASK = 2**64 - 1
_TWISTER = 624  # words of a Mersenne Twister, which Python's, numpy's and torch's generators all are
_LOST = 18
"""Outputs that are thrown away, until each bit of the key has reached all of the state; numpy's seeding takes 12."""
_HALF, _WHOLE = np.dtype("<u4"), np.dtype("<u8")
_IS_NATIVE = _WHOLE.isnative
_pack = struct.Struct("=4Q").pack_into


def mix(value: int) -> int:
    """Return 64 bits that each depend on every bit of `value`.

    The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014;
    the constants are Stafford's variant 13).
    """
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class _Outputs(threading.local):
    """What gives words of a key: SFC64 (Doty-Humphrey, PractRand) from it on. Each thread has one: it takes two steps.

    They are the same in every process and on every platform.
    """

    def __init__(self) -> None:
        self._generator: Any = np.random.SFC64(0)
        is_known = numpy_random.layout_holds(np.random.SFC64)
        self._raw = self._generator.random_raw
        # A view of numpy's array: packing into that takes longer.
        state = in_memory(self._generator, self._generator.ctypes.state_address, 8) if is_known else None
        self._state: Any = None if state is None else memoryview(state).cast("B")  # type: ignore[arg-type]

    def draw(self, key: int, count: int) -> Any:
        """Return so many words of a key, 0 <= key < 2**64; the lower half of each output comes first."""
        if self._state is not None:
            _pack(self._state, 0, key, key, key, 1)
        else:
            self._generator.state = _plain("SFC64", {"state": (key, key, key, 1)})
        words: Any = self._raw(_LOST + count // 2)
        return (words if _IS_NATIVE else words.astype(_WHOLE)).view(_HALF)[2 * _LOST :]


_outputs = _Outputs()


def writer_for(generator: Any) -> Callable[[int], None] | None:
    """Return what puts a generator where a key says, 0 <= key < 2**64; make it once, it takes 2 to 4 us a call.

    Threads that write one generator at once leave it with words of both, as they do that draw from one. Known are
    `random.Random`, numpy's `RandomState`, its `Generator` over a bit generator of numpy's, torch's on the CPU.
    """
    write, count = _writing(generator)
    return (lambda key: write(key, _outputs.draw(key, count))) if count else write and (lambda key: write(key, None))


def _writing(generator: Any) -> tuple[Any, int]:
    """Return how a generator's state is written, and how many words that takes; (None, 0): nobody knows how."""
    if isinstance(generator, random.Random) and not isinstance(generator, random.SystemRandom):
        return _python(generator), _TWISTER
    if isinstance(generator, torch.Generator) and generator.device.type == "cpu":
        return _torch(generator), _TWISTER
    bits = numpy_random.bits_of(generator)
    for kind, (inner, count) in _INNER.items():
        if isinstance(bits, kind):
            return _numpy(generator, bits, inner), count
    return None, 0


def _python(generator: Any) -> Write:
    if (memory := python_random.memory(generator)) is None:
        return lambda key, words: generator.setstate((3, (*words.tolist(), 0), None))
    place = memory[1:]

    def write(key: int, words: Any) -> None:
        place[:] = words
        memory[0] = 0
        generator.gauss_next = None

    return write


def _whole(words: Any) -> list[int]:
    return words.view(_WHOLE).tolist()  # type: ignore[no-any-return]


_INNER: dict[Any, tuple[Callable[[int, Any], dict[str, Any]], int]] = {
    np.random.MT19937: (lambda key, words: {"key": words, "pos": 0}, _TWISTER),
    # The kind that most have takes no words: they cost more than all the rest. A step is odd, or the period is shorter.
    np.random.PCG64: (pcg := lambda key, words: {"state": mix(key + 1) << 64 | key, "inc": key << 1 | 1}, 0),
    np.random.PCG64DXSM: (pcg, 0),
    np.random.SFC64: (lambda key, words: {"state": (*_whole(words)[:3], 1)}, 12),
    np.random.Philox: (lambda key, words: {"counter": (six := _whole(words))[:4], "key": six[4:6]}, 12),
}
"""The inner state of numpy's bit generators, by kind, as their `state` has it, and how many words it takes."""


def _plain(kind: str, inner: Any = None) -> dict[str, Any]:
    """Return what sets the state of a bit generator or a RandomState, with nothing left over from earlier draws."""
    left_over = {"buffer": (0,) * 4, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0, "has_gauss": 0, "gauss": 0.0}
    return {"bit_generator": kind, "state": inner, **left_over}


def _numpy(generator: Any, bits: Any, inner: Callable[[int, Any], dict[str, Any]]) -> Write:
    if (memory := numpy_random.memory(generator)) is None:
        plain, legacy = _plain(type(bits).__name__), isinstance(generator, np.random.RandomState)
        put = generator.set_state if legacy else partial(setattr, bits, "state")

        def write_in_public(key: int, words: Any) -> None:
            plain["state"] = inner(key, words)
            put(plain)

        return write_in_public
    twister, gauss = memory
    place = twister[:_TWISTER]

    def write(key: int, words: Any) -> None:
        place[:] = words
        twister[_TWISTER] = gauss[0] = 0

    return write


def _torch(generator: torch.Generator) -> Write:
    if not torch_cpu.layout_holds():
        raise DeterministicError(
            "this torch keeps the state of its generators in a way that is not known here",
            (f"found: torch {torch.__version__}", f"expected: at::mt19937, {TORCH_TWISTER.itemsize} bytes"),
            "Use a version of torch that the README names, or a newer one of this library.",
        )
    state = np.zeros(1, TORCH_TWISTER)
    # torch draws until none is left, and makes new words before it draws again: its first word is the second one.
    state["left"], state["next"], state["seeded"] = _TWISTER, 1, 1
    seed, place, tensor = state["seed"], state["words"][0], torch.from_numpy(state.view(np.uint8))

    def write(key: int, words: Any) -> None:
        # Two threads may write here at once, and mix their words; how many are left is the same for both.
        seed[0] = key
        place[:] = words
        generator.set_state(tensor)

    return write


def _globally() -> Callable[[int], None]:
    # CPython's own name for the generator behind its functions is not in its stubs.
    python, torchs = _python(random.random.__self__), _torch(torch.default_generator)  # type: ignore[attr-defined]
    legacy, bits = np.random.mtrand._rand, get_bit_generator()
    numpy = _writing(legacy)[0]

    def seed_generators(key: int) -> None:
        nonlocal bits, numpy
        words = _outputs.draw(key, 3 * _TWISTER)
        python(key, words[:_TWISTER])
        if get_bit_generator() is not bits:  # somebody has put another one behind numpy.random
            numpy, bits = _writing(legacy)[0], get_bit_generator()
        numpy(key, words[_TWISTER : 2 * _TWISTER])
        torchs(key, words[2 * _TWISTER :])

    return seed_generators


seed_generators = _globally()
"""Puts `random`, `numpy.random` and torch's CPU generator where a key says, each with words of its own."""
