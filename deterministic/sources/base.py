"""The contract of a source, and what sources share: states of generators, made plain and checked."""

from __future__ import annotations

import ctypes
import hashlib
import math
import random
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..ground.source import NOTHING as NOTHING
from ..ground.source import Applied as Applied
from ..ground.source import Limit as Limit
from ..ground.source import RngSource as RngSource
from ..ground.source import Source as Source
from ..ground.torch_names import require

require("sources")


@lru_cache(maxsize=64)
def seeded(seed: int) -> Applied:
    """Return what `apply` returns when it has seeded a generator."""
    return Applied({"seed": seed})


def in_memory(owner: Any, address: int, words: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the words of 32 bits that lie at an address, to be read and written; they keep their owner alive."""
    block: Any = (ctypes.c_uint32 * words).from_address(address)
    block.owner = owner
    return np.frombuffer(block, np.uint32)


def to_plain(value: Any) -> Any:
    """Return a nested state with numpy's arrays and scalars as lists and numbers, and tuples as lists."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def python_state(plain: Any) -> tuple[Any, ...]:
    """Return a state of a `random.Random` that was made plain; raise ValueError or TypeError if it is none."""
    version, words, gauss_next = plain
    state = version, tuple(words), gauss_next
    tried = random.Random()
    tried.setstate(state)  # which checks how many there are, and the position
    if tried.getstate() != state or type(gauss_next) not in (float, type(None)) or not math.isfinite(gauss_next or 0):
        raise ValueError("not the version, 32-bit words and Gaussian of a random.Random")
    return state


_NUMPY_LIMITS = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "has_gauss": 1, "uinteger": 2**32 - 1}
"""numpy takes any number for these, and finds its place in memory by the first two."""


def numpy_state(plain: Any, now: Any, name: str = "the state") -> Any:
    """Return a state that was made plain, if it has the fields, lengths and types of the one that a generator has now.

    A ValueError says which it has not, or which number is out of its range.
    """
    if isinstance(now, dict) and isinstance(plain, dict) and plain.keys() == now.keys():
        return {key: numpy_state(plain[key], now[key], key) for key in now}
    are_words = isinstance(plain, list) and all(type(word) is int and word >= 0 for word in plain)
    if isinstance(now, np.ndarray) and are_words and len(plain) == len(now):
        return np.array(plain, now.dtype)
    if isinstance(now, float) and type(plain) is float and math.isfinite(plain):
        return plain
    limit = _NUMPY_LIMITS.get(name, 2**128 - 1)
    if (isinstance(now, int) and type(plain) is int and 0 <= plain <= limit) or (isinstance(now, str) and plain == now):
        return plain
    raise ValueError(f"{name}: a {type(plain).__name__}, where a {type(now).__name__} in its range is expected")


TORCH_TWISTER = np.dtype("u8, i4, i4, u8, 624u8, 3f8, 2i4, f4, 4?")
TORCH_TWISTER.names = "seed", "left", "seeded", "next", "words", "normals", "has_normal", "float_normal", "has_float"
"""What `torch.Generator.get_state` returns on the CPU: at::mt19937, each 32-bit word in 64, and cached normals."""


def torch_state(plain: Any, device: torch.device | str) -> torch.Tensor:
    """Return a state of a torch generator, tried on one of that device that nobody draws from; raise if it is none."""
    torch.Generator(device).set_state(plain)
    state: torch.Tensor = plain
    if torch.device(device).type == "cpu":
        # torch checks that each of the two is in its range, and draws until the first is used up.
        twister = state.numpy().view(TORCH_TWISTER)
        left, next_word = int(twister["left"][0]), int(twister["next"][0])
        if left + next_word > 625:
            raise ValueError(f"a generator with {left} words left from word {next_word} of 624 on")
    return state


def digest(data: bytes) -> str:
    """Return a short digest of a state, for `describe`."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()
