"""Whether a generator has moved on by drawing, or was put somewhere else."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ..ground.source import RngSource

if TYPE_CHECKING:
    from ..ground.source import Source

BLOCKS = 100_000
"""How far a Mersenne Twister is followed, in blocks of 624 words: 62 million words, half a second."""

_WORDS = 624


def has_only_drawn(source: Source, before: Any, now: Any) -> bool:
    """Return whether drawing leads from one state to the other.

    The twisters of Python and numpy are followed: from where they were, they are drawn from until they are where they
    are now. torch's generators keep the seed that they were given; seeded with the same one again they look drawn
    from. Of a source of the user's it is not known, and taken to be so.
    """
    if source.name == "python.random":
        (_, one, _), (_, other, _) = (cast("RngSource", source).encode(state) for state in (before, now))
        return _leads_to((one[:-1], one[-1]), (other[:-1], other[-1]))
    if source.name == "numpy.random":
        one, other = (cast("RngSource", source).encode(state) for state in (before, now))
        if one["bit_generator"] != other["bit_generator"]:
            return False
        if one["bit_generator"] != "MT19937":
            return True
        return _leads_to(*((plain["state"]["key"], plain["state"]["pos"]) for plain in (one, other)))
    return not source.name.startswith("torch.") or _is_same_seed(before, now)


def _leads_to(before: tuple[list[int], int], now: tuple[list[int], int]) -> bool:
    (key, position), (wanted, end) = before, now
    if key == wanted:
        return position <= end
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": np.array(key, np.uint32), "pos": position}}
    twister.random_raw(_WORDS - position + 1, output=False)  # the first word of the next block makes that block
    # Reading the state in its Python form takes longer than drawing a block; its place and layout are numpy's own
    # (bit_generator.ctypes), and sources/numpy_random.py tells whether they hold.
    address, target = twister.ctypes.state_address, np.array(wanted, np.uint32).tobytes()
    for _ in range(BLOCKS):
        if ctypes.string_at(address, len(target)) == target:
            return True
        twister.random_raw(_WORDS, output=False)
    return False


def _is_same_seed(before: Any, now: Any) -> bool:
    if isinstance(before, torch.Tensor) and isinstance(now, torch.Tensor):
        return _seed_in(before) == _seed_in(now)
    devices = (tuple(before), tuple(now)) if type(before) is tuple and type(now) is tuple else None
    if devices is not None and all(isinstance(state, torch.Tensor) for states in devices for state in states):
        return all(_first_word(one) == _first_word(other) for one, other in zip(*devices, strict=True))
    # Before its first use a device has nothing but seeds that wait for it; initialising it is no change of them.
    return type(before) is not type(now)


def _seed_in(state: torch.Tensor) -> int:
    generator = torch.Generator()
    generator.set_state(state)
    return generator.initial_seed()


def _first_word(state: torch.Tensor) -> bytes:
    """Return where a device's generator (Philox) keeps its seed; the offset stands after it."""
    return state.cpu()[:8].numpy().tobytes()
