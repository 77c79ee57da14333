"""States: a generator put where a key says, by writing all of its state and not by seeding it.

numpy and torch take 32 bits of a seed, so of a million samples some hundred pairs would draw the same; spreading it
over 624 words takes microseconds, and the first draw makes them anew. Written instead are as many fresh words of a
generator whose state is the key: all of its 64 bits count, and the first draw takes the first word.

Where a generator is not laid out in memory as it is known here, and where the lowest byte does not come first, the
words go through its public methods: the draws are the same.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator

from ...errors import DeterministicError, cut, explain
from ...sources import numpy_random, python_random, torch_cpu
from ...sources.base import TORCH_TWISTER

Write: TypeAlias = Callable[[int, memoryview], None]
"""Puts one generator where a key says; the memory holds words of the key, their lowest byte first."""

_TWISTER = 624 * 4
"""Bytes of the words of a Mersenne Twister, which Python's, numpy's and torch's generators all are."""
_LOST = 18
"""Outputs that are thrown away, until each bit of the key has reached all of the state; numpy's seeding takes 12."""
_IS_LITTLE = sys.byteorder == "little"
_PYTHON: Any = random.random.__self__  # type: ignore[attr-defined]
_NUMPY = np.random.mtrand._rand
_LEFT, _FOLLOWING = 624, 1
"""torch draws until none is left, and makes new words before it draws again: its first word is the second one."""
_NONE = bytes(torch_cpu.NORMALS.size)
_pack = struct.Struct("=4Q").pack_into


def _memory(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def _source() -> Callable[[int, int], memoryview]:
    """Return what gives so many bytes of words of a key, 0 <= key < 2**64: SFC64 (Doty-Humphrey, PractRand) from it on.

    They are the same in every process and on every platform.
    """
    generator: Any = np.random.SFC64(0)
    is_known = numpy_random.layout_holds(np.random.SFC64)
    state, random_raw = is_known and _memory(generator.ctypes.state_address, 32), generator.random_raw

    def draw(key: int, size: int) -> memoryview:
        if state:
            _pack(state, 0, key, key, key, 1)
        else:
            generator.state = _plain("SFC64", {"state": (key, key, key, 1)})
        words: Any = random_raw(_LOST + size // 8)
        return memoryview(words if _IS_LITTLE else words.astype("<u8")).cast("B")[8 * _LOST :]

    return draw


class _Sources(threading.local):
    """A source for each thread, for a draw takes two steps."""

    def __init__(self) -> None:
        self.draw = _source()


_sources = _Sources()


def writer_for(generator: Any) -> Callable[[int], None]:
    """Return what puts this generator where a key says, 0 <= key < 2**64; make it once, it takes 2 to 4 us a call.

    Args:
        generator: A `random.Random`, a numpy `RandomState` or `Generator` with a bit generator of numpy's, or a
            `torch.Generator` on the CPU.

    Raises:
        TypeError: It is another one.
    """
    write, size = _writing(generator)
    return lambda key: write(key, _sources.draw(key, size))


def _writing(generator: Any) -> tuple[Write, int]:
    """Return how this generator's state is written, and how many bytes of words that takes."""
    if isinstance(generator, random.Random) and not isinstance(generator, random.SystemRandom):
        return _python(generator), _TWISTER
    if isinstance(generator, torch.Generator) and generator.device.type == "cpu":
        return _torch(generator), _TWISTER
    state = generator if isinstance(generator, np.random.RandomState) else None
    bits: Any = getattr(generator, "bit_generator" if state is None else "_bit_generator", None)
    for kind, inner in _INNER.items():
        if isinstance(bits, kind):
            return _numpy(bits, state, inner), _TWISTER if kind is np.random.MT19937 else 48
    found = type(generator if bits is None else bits)
    raise TypeError(
        explain(
            "this generator has no state that a key could be made into",
            (
                f"found: {found.__module__}.{found.__qualname__}: {cut(generator)}",
                "expected: random.Random, a RandomState or Generator of numpy's, a torch.Generator on the CPU",
            ),
            "Draw from one of these, or from sample_rng().",
        )
    )


def _python_memory(generator: Any) -> Any:
    if not _IS_LITTLE or not python_random.layout_holds():
        return None
    address = python_random.address(generator)
    return _memory(address + ctypes.sizeof(ctypes.c_int), _TWISTER), ctypes.c_int.from_address(address)


def _python(generator: Any) -> Write:
    if (memory := _python_memory(generator)) is None:
        return lambda key, words: generator.setstate((3, (*np.frombuffer(words, "<u4").tolist(), 0), None))
    place, position = memory

    def write(key: int, words: memoryview) -> None:
        place[:] = words
        position.value = 0
        generator.gauss_next = None

    return write


def _pcg(words: memoryview) -> dict[str, Any]:
    low, high, step, stream = struct.unpack_from("<4Q", words)
    return {"state": low | high << 64, "inc": step | stream << 64 | 1}  # odd, or the period is shorter


_INNER: dict[Any, Callable[[memoryview], dict[str, Any]]] = {
    np.random.MT19937: lambda words: {"key": np.frombuffer(words, "<u4"), "pos": 0},
    np.random.PCG64: _pcg,
    np.random.PCG64DXSM: _pcg,
    np.random.SFC64: lambda words: {"state": (*struct.unpack_from("<3Q", words), 1)},
    np.random.Philox: lambda words: {"counter": (numbers := struct.unpack_from("<6Q", words))[:4], "key": numbers[4:]},
}
"""The inner state of numpy's bit generators, by kind, as their `state` has it."""


def _plain(kind: str, inner: dict[str, Any], **gauss: float) -> dict[str, Any]:
    """Return what `BitGenerator.state` takes, with nothing left over from earlier draws."""
    left_over = {"buffer": (0,) * 4, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0}
    return {"bit_generator": kind, "state": inner, **left_over, **gauss}


def _numpy_memory(bits: Any, state: Any) -> Any:
    gauss = 0 if state is None else numpy_random.gauss_offset()
    if not isinstance(bits, np.random.MT19937) or not _IS_LITTLE or gauss is None or not numpy_random.layout_holds():
        return None
    address = bits.ctypes.state_address
    position = ctypes.c_int.from_address(address + _TWISTER)
    # A Generator holds no Gaussian: there the position is written twice.
    return (
        _memory(address, _TWISTER),
        position,
        position if state is None else ctypes.c_int.from_address(id(state) + gauss),
    )


def _numpy(bits: Any, state: Any, inner: Callable[[memoryview], dict[str, Any]]) -> Write:
    """Return how a bit generator is written that stands behind a `Generator`, or (not None) this `RandomState`."""
    if (memory := _numpy_memory(bits, state)) is None:
        kind = type(bits).__name__
        if state is None:
            return lambda key, words: setattr(bits, "state", _plain(kind, inner(words)))
        return lambda key, words: state.set_state(_plain(kind, inner(words), has_gauss=0, gauss=0.0))
    place, position, has_gauss = memory

    def write(key: int, words: memoryview, memory_of: Any = (bits, state)) -> None:
        place[:] = words
        position.value = has_gauss.value = 0

    return write


def _torch_memory(generator: Any) -> Any:
    if not _IS_LITTLE or (offset := torch_cpu.words_offset()) is None:
        return None
    address, size = generator._cdata + offset, torch_cpu.HEAD.size
    head = _memory(address - size, size)
    left = ctypes.c_int.from_buffer(head, torch_cpu.LEFT_AT)
    return _memory(address, _TWISTER), head, left, _memory(address + _TWISTER, len(_NONE))


def _torch(generator: Any) -> Write:
    if (memory := _torch_memory(generator)) is not None:
        (place, head, words_left, normals), pack = memory, torch_cpu.HEAD.pack_into

        def write(key: int, words: memoryview, memory_of: Any = generator) -> None:
            place[:] = words
            # Another thread may draw meanwhile: never are more words left than there are behind the next one.
            words_left.value = 1
            pack(head, 0, key, 1, 1, _FOLLOWING)
            words_left.value = _LEFT
            normals[:] = _NONE

        return write
    if not torch_cpu.layout_holds():
        raise DeterministicError(
            explain(
                "this torch keeps the state of its generators in a way that is not known here",
                (f"found: torch {torch.__version__}", f"expected: at::mt19937, {TORCH_TWISTER.itemsize} bytes"),
                "Use a version of torch that the README names, or a newer one of this library.",
            )
        )
    state = np.zeros(1, TORCH_TWISTER)
    state["left"], state["next"], state["seeded"] = _LEFT, _FOLLOWING, 1
    tensor = torch.from_numpy(state.view(np.uint8))

    def write_in_public(key: int, words: memoryview) -> None:
        state["seed"], state["words"] = key, np.frombuffer(words, "<u4")
        generator.set_state(tensor)

    return write_in_public


def _globally() -> Callable[[int], None]:
    """Return `seed_generators`. Threads share the global generators, and may share what seeds them."""
    draw, (python, numpy, torchs) = _source(), (_writing(one)[0] for one in (_PYTHON, _NUMPY, torch.default_generator))
    bits = get_bit_generator()
    first, second, third = (slice(start, start + _TWISTER) for start in range(0, 3 * _TWISTER, _TWISTER))

    def seed_generators(key: int) -> None:
        nonlocal bits, numpy
        words = draw(key, 3 * _TWISTER)
        python(key, words[first])
        if get_bit_generator() is not bits:  # somebody has put another one behind numpy.random
            numpy, bits = _writing(_NUMPY)[0], get_bit_generator()
        numpy(key, words[second])
        torchs(key, words[third])

    return seed_generators


def _globally_in_memory() -> Callable[[int], None]:
    """Return `_globally()` as one piece of code, 1 us of 7 less; where a place in memory is not known, as it is."""
    other_way, bits, source = _globally(), get_bit_generator(), np.random.SFC64(0)
    memories = _python_memory(_PYTHON), _numpy_memory(bits, _NUMPY), _torch_memory(torch.default_generator)
    if None in memories or not numpy_random.layout_holds(np.random.SFC64):
        return other_way
    (python, position), (numpy, numpy_position, has_gauss), (torchs, head, words_left, normals) = memories
    state, random_raw, pack_head = _memory(source.ctypes.state_address, 32), source.random_raw, torch_cpu.HEAD.pack_into
    starts = range(8 * _LOST, 8 * _LOST + 3 * _TWISTER, _TWISTER)
    first, second, third = (slice(start, start + _TWISTER) for start in starts)
    count = _LOST + 3 * _TWISTER // 8

    def seed_generators(key: int) -> None:
        if get_bit_generator() is not bits:
            other_way(key)
            return
        _pack(state, 0, key, key, key, 1)
        words = memoryview(random_raw(count)).cast("B")  # type: ignore[arg-type]
        python[:] = words[first]
        position.value = 0
        _PYTHON.gauss_next = None
        numpy[:] = words[second]
        numpy_position.value = has_gauss.value = 0
        torchs[:] = words[third]
        words_left.value = 1  # as in `_torch`
        pack_head(head, 0, key, 1, 1, _FOLLOWING)
        words_left.value = _LEFT
        normals[:] = _NONE

    return seed_generators


seed_generators = _globally_in_memory()
"""Puts `random`, `numpy.random` and torch's CPU generator where a key says, each with words of its own."""
