"""What the watch over entropy shares with modules that do not import it: what was asked, and whose sample is made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal, TypeAlias, cast

from .arguments import choice
from .levels import ENTROPY

EntropyMode: TypeAlias = Literal["ignore", "warn", "raise", "seed"]

before_seeding: Callable[[str, Any, FrameType], Any] | None = None
"""What wants to know of a call that seeds, before it does: with the generator, the seed and the caller's frame.

It returns the seed to take instead, or None. None itself while nothing is watched."""


class _Current(threading.local):
    """The sample (or batch) that is being made on this thread, and the generators that it has asked for, if any."""

    key: int | None = None
    made: dict[str, Any] | None = None


current = _Current()


def validate_entropy(entropy: object) -> EntropyMode | None:
    """Return what is to be done about entropy, None to leave it as it is; a ValueError names the choices."""
    return None if entropy is None else choice("entropy", entropy, cast("dict[EntropyMode, str]", ENTROPY))
