"""numpy's legacy global generator: which bit generator stands behind `numpy.random`, its state, the cached Gaussian."""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any, NamedTuple, TypeAlias

import numpy as np

# Not in numpy's own __all__, though documented.
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from ..errors import ResumeMismatchError, explain
from ..ground.config import Config
from ..ground.seeds import numpy_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import digest, numpy_state, seeded, to_plain

_LAYOUTS: dict[Any, np.dtype[Any]] = {
    np.random.MT19937: np.dtype([("key", "u4", 624), ("pos", "i4")]),
    np.random.SFC64: np.dtype([("state", "u8", 4)]),
}
"""How numpy lays bit generators out in memory, from `bit_generator.ctypes.state_address` on."""
_MT19937_BYTES = _LAYOUTS[np.random.MT19937].itemsize


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
    `bit_generator.ctypes.state_address` takes 1 us. Whether that layout holds is checked once against get_state; any
    other bit generator, and any numpy with another layout, goes the slow way.
    """

    name = "numpy.random"
    kind: SourceKind = "rng"

    def __init__(self) -> None:
        self._layout_holds = layout_holds()

    def capture(self) -> NumpyState:
        bit_generator = get_bit_generator()
        if not self._layout_holds or type(bit_generator) is not np.random.MT19937:
            return _PublicState(bit_generator, np.random.get_state(legacy=False))
        address = bit_generator.ctypes.state_address
        data = ctypes.string_at(address, _MT19937_BYTES)
        # The cached Gaussian has no getter but get_state. If one is there, drawing takes it and leaves the twister
        # alone; if none is, drawing moves the twister and caches one: draw that too, and put the twister back.
        drawn = np.random.standard_normal()
        if ctypes.string_at(address, _MT19937_BYTES) == data:
            _set_gauss(drawn)
            return _RawTwister(bit_generator, data, drawn)
        np.random.standard_normal()
        ctypes.memmove(address, data, _MT19937_BYTES)
        return _RawTwister(bit_generator, data, None)

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        np.random.seed(numpy_seed(config.seed))
        bit_generator = get_bit_generator()
        if type(bit_generator) is not np.random.MT19937:
            set_bit_generator(bit_generator)  # seeding any other one leaves the cached Gaussian in place
        return seeded(config.seed)

    def restore(self, state: NumpyState) -> None:
        # Setting the bit generator, even to the one in place, drops the cached Gaussian.
        set_bit_generator(state.bit_generator)
        if isinstance(state, _PublicState):
            np.random.set_state(state.state)
            return
        ctypes.memmove(state.bit_generator.ctypes.state_address, state.data, _MT19937_BYTES)
        if state.gauss is not None:
            _set_gauss(state.gauss)

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
                explain(
                    "numpy.random has another bit generator than the saved state",
                    (f"found: {name}", f"saved: {plain['bit_generator']}"),
                    "Install the same one with numpy.random.set_bit_generator before loading.",
                )
            )
        return _PublicState(bit_generator, numpy_state(plain, np.random.get_state(legacy=False)))


def _set_gauss(gauss: float) -> None:
    state = np.random.get_state(legacy=False)
    state["has_gauss"], state["gauss"] = 1, gauss
    np.random.set_state(state)


def layout_holds(kind: Any = np.random.MT19937) -> bool:
    """Return whether the state of this kind of bit generator lies in memory as it is known here."""
    probe, layout = kind(0), _LAYOUTS[kind]
    probe.random_raw(3)
    found = np.frombuffer(ctypes.string_at(probe.ctypes.state_address, layout.itemsize), layout)[0]
    return all(np.array_equal(found[name], probe.state["state"][name]) for name in layout.names or ())


def gauss_offset() -> int | None:
    """Return how far into a `RandomState` stands whether it holds a Gaussian; None: that could not be found.

    There is no way to drop one but setting all of the state, and none to see one. So it is looked for in memory: what
    became 1 when a draw left a Gaussian, 8 bytes before that.
    """
    if sys.implementation.name != "cpython":
        return None
    probe = np.random.RandomState(0)
    before = ctypes.string_at(id(probe), np.random.RandomState.__basicsize__)
    probe.standard_normal()
    after = ctypes.string_at(id(probe), np.random.RandomState.__basicsize__)
    state: Any = probe.get_state(legacy=False)
    offset = after.find(struct.pack("d", state["gauss"])) - 8
    if offset < 0 or [struct.unpack_from("i", data, offset) for data in (before, after)] != [(0,), (1,)]:
        return None
    ctypes.c_int.from_address(id(probe) + offset).value = 0
    return None if probe.get_state(legacy=False)["has_gauss"] else offset  # type: ignore[call-overload]
