"""numpy's legacy global generator: which bit generator stands behind `numpy.random`, its state, the cached Gaussian."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, TypeAlias

import numpy as np

# Not in numpy's own __all__, though documented.
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from ..errors import ResumeMismatchError, explain
from ..ground.config import Config
from ..ground.seeds import numpy_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import digest, numpy_state, seeded, to_plain

_MT19937_BYTES = 624 * 4 + 4
"""The Mersenne Twister as numpy lays it out in memory: 624 words and the position."""


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
        self._layout_holds = _layout_holds()

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


def _layout_holds() -> bool:
    probe = np.random.MT19937(0)
    probe.random_raw(3)
    words = np.frombuffer(ctypes.string_at(probe.ctypes.state_address, _MT19937_BYTES), dtype=np.uint32)
    state: dict[str, Any] = probe.state["state"]  # type: ignore[assignment]
    return bool(np.array_equal(words[:-1], state["key"])) and int(words[-1]) == state["pos"]
