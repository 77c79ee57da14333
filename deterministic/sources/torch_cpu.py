"""torch's default generator on the CPU."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import numpy as np
import torch

from ..ground.config import Config
from ..ground.seeds import torch_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import TORCH_TWISTER, digest, seeded, torch_state


class TorchCpu:
    """`torch.manual_seed`, `torch.rand` and the rest on the CPU, with the cached normal deviate."""

    name = "torch.cpu"
    kind: SourceKind = "rng"

    def capture(self) -> torch.Tensor:
        return torch.default_generator.get_state()

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        # Not torch.manual_seed: that formats a traceback for each device that is not initialised, 90-600 us.
        seed = torch_seed(config.seed)
        torch.default_generator.manual_seed(seed)
        return seeded(seed)

    def restore(self, state: torch.Tensor) -> None:
        torch.default_generator.set_state(state)

    def describe(self, state: torch.Tensor) -> dict[str, JSON]:
        return {"digest": digest(state.numpy().tobytes())}

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return state

    def decode(self, plain: torch.Tensor) -> torch.Tensor:
        return torch_state(plain, "cpu")


def layout_holds() -> bool:
    """Return whether a state has its words where `TORCH_TWISTER` says: those that numpy makes of the same seed."""
    state = torch.Generator("cpu").manual_seed(7).get_state().numpy()
    if state.nbytes != TORCH_TWISTER.itemsize:
        return False
    seed, left, seeded, following, words, *_ = state.view(TORCH_TWISTER)[0]
    expected: Any = np.random.RandomState(7).get_state(legacy=False)
    return (seed, left, seeded, following) == (7, 1, 1, 0) and np.array_equal(words, expected["state"]["key"])


HEAD, LEFT_AT = struct.Struct("=QiB3xI"), 8
"""What a generator has in memory before its words of 32 bits: the seed, words left, whether it is seeded, the next."""
NORMALS = struct.Struct("=4xf?3xd?7x")
"""What it has behind them: the cached normal deviates, and whether there are any."""


def words_offset() -> int | None:
    """Return how far from `Generator._cdata` the words lie, between `HEAD` and `NORMALS`; None: they do not.

    Tried on two generators that nobody draws from: of one, everything is found in memory that it was told through
    `set_state`, and the same bytes make the other one's state the same.
    """
    told = np.zeros(1, TORCH_TWISTER)
    told["seed"], told["left"], told["seeded"], told["next"], told["words"] = 7, 600, 1, 5, np.arange(624) + 2**31
    told["normals"][0, 1], told["has_normal"][0, 0], told["float_normal"], told["has_float"][0, 0] = 0.5, 1, 2, 1
    one, other = torch.Generator("cpu"), torch.Generator("cpu")
    addresses: Any = [getattr(each, "_cdata", None) for each in (one, other)]
    address = addresses[0]
    one.set_state(torch.from_numpy(told.view(np.uint8)))
    words = told["words"].astype(np.uint32).tobytes()
    offset = -1 if address is None else ctypes.string_at(address, 256).find(words[:64]) - HEAD.size
    if offset < 0:
        return None
    data = ctypes.string_at(address + offset, HEAD.size + len(words) + NORMALS.size)
    if data[HEAD.size : -NORMALS.size] != words or HEAD.unpack_from(data) != (7, 600, 1, 5):
        return None
    if NORMALS.unpack(data[-NORMALS.size :]) != (2, True, 0.5, True):
        return None
    ctypes.memmove(addresses[1] + offset, data, len(data))
    return offset + HEAD.size if torch.equal(other.get_state(), one.get_state()) else None
