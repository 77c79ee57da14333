"""numpy's legacy global generator: which bit generator stands behind `numpy.random`, its state, the cached Gaussian."""

from __future__ import annotations

import ctypes
import struct
import sys
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

# Not in numpy's own __all__, though documented.
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from ..errors import ResumeMismatchError
from ..ground.config import Config
from ..ground.seeds import numpy_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import digest, in_memory, numpy_state, seeded, to_plain

_LAYOUTS: dict[Any, np.dtype[Any]] = {
    np.random.MT19937: np.dtype([("key", "u4", 624), ("pos", "i4")]),
    np.random.SFC64: np.dtype([("state", "u8", 4)]),
}
"""How numpy lays bit generators out in memory, from `bit_generator.ctypes.state_address` on."""
_MT19937_BYTES = _LAYOUTS[np.random.MT19937].itemsize

_GAUSSIAN = struct.Struct("i4xd")
"""Whether a Gaussian is ready and which, as a RandomState holds them (`aug_bitgen_t` in legacy-distributions.h)."""


class _RawTwister(NamedTuple):
    """A Mersenne Twister: its bytes, and the Gaussian that `numpy.random` holds ready, if any."""

    bit_generator: Any
    data: bytes
    gauss: float | None


class _PublicState(NamedTuple):
    """Any other bit generator: what `numpy.random.get_state(legacy=False)` says."""

    bit_generator: Any
    state: dict[str, Any]


NumpyState: TypeAlias = "_RawTwister | _PublicState"


class NumpyRandom:
    """`numpy.random.seed`, `numpy.random.rand` and the rest, also as scipy.stats uses them.

    get_state and set_state convert 624 words to Python objects and back, 50 us; copying the 2,500 bytes through
    `bit_generator.ctypes.state_address` takes 1 us, and those of the cached Gaussian, which has no getter, no longer.
    Whether that layout holds is checked once against get_state and set_state; any other bit generator, and any numpy
    with another layout, goes the slow way.
    """

    name = "numpy.random"
    kind: SourceKind = "rng"

    def __init__(self) -> None:
        place = gauss_offset() if layout_holds() else None
        self._gaussian_at = id(np.random.mtrand._rand) + place if place else 0  # 0: the slow way
        self._seeded = lru_cache(maxsize=16)(self._seed)  # copied where a seed is asked for again

    def capture(self) -> NumpyState:
        bit_generator = get_bit_generator()
        if not self._gaussian_at or type(bit_generator) is not np.random.MT19937:
            return _PublicState(bit_generator, np.random.get_state(legacy=False))
        is_ready, gauss = _GAUSSIAN.unpack(ctypes.string_at(self._gaussian_at, _GAUSSIAN.size))
        data = ctypes.string_at(bit_generator.ctypes.state_address, _MT19937_BYTES)
        return _RawTwister(bit_generator, data, gauss if is_ready else None)

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        bit_generator = get_bit_generator()
        if self._gaussian_at and type(bit_generator) is np.random.MT19937:
            self.restore(_RawTwister(bit_generator, self._seeded(config.seed), None))
            return seeded(config.seed)
        np.random.seed(numpy_seed(config.seed))
        if type(bit_generator) is not np.random.MT19937:
            set_bit_generator(bit_generator)  # seeding any other one leaves the cached Gaussian in place
        return seeded(config.seed)

    def _seed(self, seed: int) -> bytes:
        np.random.seed(numpy_seed(seed))
        return ctypes.string_at(get_bit_generator().ctypes.state_address, _MT19937_BYTES)

    def restore(self, state: NumpyState) -> None:
        if get_bit_generator() is not state.bit_generator:
            set_bit_generator(state.bit_generator)
        if isinstance(state, _PublicState):
            np.random.set_state(state.state)
            return
        ctypes.memmove(state.bit_generator.ctypes.state_address, state.data, _MT19937_BYTES)
        ctypes.memmove(self._gaussian_at, _GAUSSIAN.pack(state.gauss is not None, state.gauss or 0.0), _GAUSSIAN.size)

    def describe(self, state: NumpyState) -> dict[str, JSON]:
        plain = self.encode(state)
        return {"bit_generator": plain["bit_generator"], "digest": digest(repr(plain).encode())}

    def encode(self, state: NumpyState) -> dict[str, Any]:
        if isinstance(state, _PublicState):
            return dict(to_plain(state.state))
        words = np.frombuffer(state.data, dtype=np.uint32)
        return {
            "bit_generator": "MT19937",
            "state": {"key": words[:-1].tolist(), "pos": int(words[-1])},
            "has_gauss": int(state.gauss is not None),
            "gauss": state.gauss or 0.0,
        }

    def decode(self, plain: dict[str, Any]) -> NumpyState:
        bit_generator = get_bit_generator()
        name = type(bit_generator).__name__
        if plain["bit_generator"] != name:
            raise ResumeMismatchError(
                "numpy.random has another bit generator than the saved state",
                (f"found: {name}", f"saved: {plain['bit_generator']}"),
                "Install the same one with numpy.random.set_bit_generator before loading.",
            )
        return _PublicState(bit_generator, numpy_state(plain, np.random.get_state(legacy=False)))


def bits_of(generator: Any) -> Any:
    """Return the bit generator behind a `RandomState` or a `Generator`; None: it is neither."""
    legacy = isinstance(generator, np.random.RandomState)
    return getattr(generator, "_bit_generator" if legacy else "bit_generator", None)


def memory(generator: Any) -> list[np.ndarray[Any, np.dtype[np.uint32]]] | None:
    """Return what a `RandomState` or `Generator` over a Mersenne Twister consists of, where it lies in memory.

    It is its 624 words and the position, and what begins with whether it holds a Gaussian: a `Generator`, which holds
    none, has its position there, too. None: it is over another kind, or nobody knows where.
    """
    bits, is_legacy = bits_of(generator), isinstance(generator, np.random.RandomState)
    if type(bits) is not np.random.MT19937 or not layout_holds() or (is_legacy and gauss_offset() is None):
        return None
    twister = in_memory(bits, bits.ctypes.state_address, 625)
    return [twister, in_memory(generator, id(generator) + (gauss_offset() or 0), 4) if is_legacy else twister[624:]]


@cache
def layout_holds(kind: Any = np.random.MT19937) -> bool:
    """Return whether the state of this kind of bit generator lies in memory as it is known here."""
    probe, layout = kind(0), _LAYOUTS[kind]
    probe.random_raw(3)
    found = np.frombuffer(ctypes.string_at(probe.ctypes.state_address, layout.itemsize), layout)[0]
    return all(np.array_equal(found[name], probe.state["state"][name]) for name in layout.names or ())


@cache
def gauss_offset() -> int | None:
    """Return at which byte a `RandomState` holds its Gaussian: the one where each that is set is found; None: nowhere.

    There is no way to drop one but setting all of the state, and none to see one.
    """
    if sys.implementation.name != "cpython":
        return None
    scratch = np.random.RandomState(0)
    places = set(range(8, np.random.RandomState.__basicsize__ - _GAUSSIAN.size + 1, 8))
    for is_ready, gauss in ((1, 1.5), (1, -0.1), (0, 0.0)):
        scratch.set_state({**scratch.get_state(legacy=False), "has_gauss": is_ready, "gauss": gauss})
        memory = ctypes.string_at(id(scratch), np.random.RandomState.__basicsize__)
        places = {place for place in places if _GAUSSIAN.unpack_from(memory, place) == (is_ready, gauss)}
    return places.pop() if len(places) == 1 else None
