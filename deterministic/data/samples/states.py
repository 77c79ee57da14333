"""States: a generator put where a key says, by writing all of its state and not by seeding it.

A seed of numpy's or torch's has 32 bits here, so that of a million samples some hundred pairs would draw the same; it is
spread over 624 words in microseconds, and the first draw makes these anew. What is written instead are as many fresh
words of a generator whose state is the key: all 64 bits count, and the first draw takes the first word.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator

from ...errors import DeterministicError, cut, explain
from ...sources import numpy_random, python_random, torch_cpu
from ...sources.base import TORCH_TWISTER

Write: TypeAlias = Callable[[int, memoryview], None]
"""Puts one generator where a key says; the memory holds words of the key, little-endian."""

_TWISTER = 624 * 4
"""Bytes of a Mersenne Twister's words, which Python's, numpy's and torch's generators all are."""
_LOST = 18
"""Outputs that are thrown away, until each bit of the key has reached all of the state; numpy does with 12."""
_pack = struct.Struct("=4Q").pack_into


def _memory(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def _make_source() -> Callable[[int, int], Any]:
    generator = np.random.SFC64(0)
    random_raw = generator.random_raw
    if not numpy_random.layout_holds(np.random.SFC64):

        def draw_in_public(key: int, count: int) -> Any:
            generator.state = _state_of("SFC64", {"state": (key, key, key, 1)})
            return random_raw(count)

        return draw_in_public
    state = _memory(generator.ctypes.state_address, 32)

    def draw(key: int, count: int) -> Any:
        _pack(state, 0, key, key, key, 1)
        return random_raw(count)

    return draw


class _Source(threading.local):
    """SFC64 (Doty-Humphrey, PractRand), with a key as its state; one for each thread, for it takes two steps to draw."""

    def __init__(self) -> None:
        self.draw = _make_source()


_source = _Source()


def _draw(key: int, size: int) -> memoryview:
    """Return so many bytes of words of a key, 0 <= key < 2**64: the same in every process and on every platform."""
    words = _source.draw(key, _LOST + size // 8)
    if sys.byteorder == "big":
        words = words.astype("<u8")
    return memoryview(words).cast("B")[8 * _LOST :]


def seed_generators(key: int) -> None:
    """Put `random`, `numpy.random` and torch's CPU generator where a key says, each with words of its own; 4 us."""
    words, world = _draw(key, 3 * _TWISTER), _globals()
    world.python(key, words[:_TWISTER])
    if get_bit_generator() is not world.bit_generator:
        world.take_numpy()
    world.numpy(key, words[_TWISTER : 2 * _TWISTER])
    world.torch(key, words[2 * _TWISTER :])


def writer_for(generator: Any) -> Callable[[int], None]:
    """Return what puts this generator where a key says, 0 <= key < 2**64; make it once, it takes 2 to 4 us a call.

    Args:
        generator: A `random.Random`, a numpy `RandomState` or `Generator` with a bit generator of numpy's, or a
            `torch.Generator` on the CPU.

    Raises:
        TypeError: It is another one.
    """
    write, size = _writing(generator)
    return lambda key: write(key, _draw(key, size))


class _Globals:
    """The writers of the three global generators. Behind numpy's there may be another bit generator at any time."""

    def __init__(self) -> None:
        self.python, _ = _writing(random.random.__self__)  # type: ignore[attr-defined]
        self.torch, _ = _writing(torch.default_generator)
        self.take_numpy()

    def take_numpy(self) -> None:
        self.bit_generator = get_bit_generator()
        self.numpy, _ = _writing(np.random.mtrand._rand)


_globals = cache(_Globals)


def _writing(generator: Any) -> tuple[Write, int]:
    """Return how this generator's state is written, and how many bytes of words that takes."""
    if isinstance(generator, random.Random) and not isinstance(generator, random.SystemRandom):
        return _native(_python(generator)), _TWISTER
    if isinstance(generator, torch.Generator) and generator.device.type == "cpu":
        return _native(_torch(generator)), _TWISTER
    state = generator if isinstance(generator, np.random.RandomState) else None
    bits: Any = getattr(generator, "bit_generator" if state is None else "_bit_generator", None)
    if isinstance(bits, np.random.MT19937):
        return _native(_numpy_twister(bits, state)), _TWISTER
    if type(bits) in _OTHERS:
        return _numpy_other(bits, state), 48
    kind = type(generator if bits is None else bits)
    raise TypeError(
        explain(
            "this generator has no state that a key could be made into",
            (
                f"found: {kind.__module__}.{kind.__qualname__}: {cut(generator)}",
                "expected: random.Random, a RandomState or Generator of numpy's, a torch.Generator on the CPU",
            ),
            "Draw from one of these, or from sample_rng().",
        )
    )


def _native(write: Write) -> Write:
    """Give a twister the words as numbers of this machine."""
    if sys.byteorder == "little":
        return write
    return lambda key, words: write(key, memoryview(np.frombuffer(words, "<u4").astype("=u4")).cast("B"))


def _python(generator: Any) -> Write:
    if not python_random.layout_holds():
        return lambda key, words: generator.setstate((3, (*words.cast("I"), 0), None))
    address = python_random.address(generator)
    position, place = ctypes.c_int.from_address(address), _memory(address + ctypes.sizeof(ctypes.c_int), _TWISTER)

    def write(key: int, words: memoryview) -> None:
        place[:] = words
        position.value = 0
        generator.gauss_next = None

    return write


def _numpy_twister(bits: Any, state: Any) -> Write:
    gauss = numpy_random.gauss_offset()
    if not numpy_random.layout_holds() or (state is not None and gauss is None):

        def write_in_public(key: int, words: memoryview) -> None:
            inner = {"key": np.frombuffer(words, np.uint32), "pos": 0}
            plain = _state_of(type(bits).__name__, inner, has_gauss=0, gauss=0.0)
            if state is None:
                bits.state = plain
            else:
                state.set_state(plain)

        return write_in_public
    address = bits.ctypes.state_address
    position, place = ctypes.c_int.from_address(address + _TWISTER), _memory(address, _TWISTER)
    # Of a Generator, which holds no Gaussian, nothing is written twice.
    has_gauss = position if state is None else ctypes.c_int.from_address(id(state) + gauss)

    def write(key: int, words: memoryview, bits: Any = (bits, state)) -> None:  # which keeps the memory alive
        place[:] = words
        position.value = has_gauss.value = 0

    return write


_OTHERS: dict[Any, Callable[..., dict[str, Any]]] = {
    np.random.PCG64: lambda *words: _pcg(*words),
    np.random.PCG64DXSM: lambda *words: _pcg(*words),
    np.random.SFC64: lambda *words: {"state": (*words[:3], 1)},
    np.random.Philox: lambda *words: {"counter": words[:4], "key": words[4:]},
}
"""The inner state of numpy's other bit generators, made of six words of 64 bits, by kind."""


def _pcg(low: int, high: int, step: int, stream: int, *_: int) -> dict[str, int]:
    return {"state": low | high << 64, "inc": step | stream << 64 | 1}  # odd, or the period is shorter


def _state_of(kind: str, inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what `BitGenerator.state` takes, with nothing left over from earlier draws."""
    return {"bit_generator": kind, "state": inner, "has_uint32": 0, "uinteger": 0, **more}


def _numpy_other(bits: Any, state: Any) -> Write:
    kind, inner, more = type(bits).__name__, _OTHERS[type(bits)], {}
    if kind == "Philox":
        more = {"buffer": (0, 0, 0, 0), "buffer_pos": 4}
    if state is not None:
        bits, more = state, {**more, "has_gauss": 0, "gauss": 0.0}
    put = (lambda plain: setattr(bits, "state", plain)) if state is None else state.set_state

    def write(key: int, words: memoryview) -> None:
        put(_state_of(kind, inner(*struct.unpack_from("<6Q", words)), **more))

    return write


def _torch(generator: torch.Generator) -> Write:
    if not torch_cpu.layout_holds():
        raise DeterministicError(
            explain(
                "this torch keeps the state of a generator on the CPU in a way that is not known",
                (f"found: torch {torch.__version__}", f"expected: {TORCH_TWISTER.itemsize} bytes, as at::mt19937 does"),
                "Use a version of torch that the README names, or a newer one of this library.",
            )
        )
    state = np.zeros(1, TORCH_TWISTER)
    # torch draws until none is left, and then makes new words before it draws again: so its first word is the second.
    state["left"], state["next"], state["seeded"] = 624, 1, 1
    bytes_of_state, seed, wide = torch.from_numpy(state.view(np.uint8)), state["seed"], state["words"][0]
    narrow = np.empty(624, np.uint32)
    place, set_state = memoryview(narrow).cast("B"), generator.set_state

    def write(key: int, words: memoryview) -> None:
        place[:] = words
        np.copyto(wide, narrow)
        seed[0] = key
        set_state(bytes_of_state)

    return write
