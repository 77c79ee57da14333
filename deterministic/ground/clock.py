"""Whether a seed was read from the clock just now; precision first, for most seeds that look random are chosen."""

from __future__ import annotations

import operator
import os
import time
from types import FrameType
from typing import Any

_SECOND = 10**9
_UNITS = (_SECOND, 10**6, 10**3, 1)  # what a time is counted in, in ns: s, ms, µs, ns
_WHOLE = 60 * _SECOND
"""How old a time may be, in ns, to be known as one: one in 35 million seeds below 2**32 looks like one by chance."""
_PARTS = ((10**6, 5 * _SECOND), (10**3, 5 * 10**6), (1, 5 * 10**4))
"""The same of what is left of it by `% 2**32`: by chance one in 18,000 would, so it also has to stand by a clock."""
_MODULI = (2**32, 2**32 - 1, 2**31)
_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "timestamp"}
SMALL = 10**8  # seeds that people write are smaller, or not the time


def is_clock(seed: Any, frame: FrameType | None) -> bool:
    """Return whether a seed is the time, with the process id added (webdataset adds it), or its last 31 or 32 bits.

    The last only where the function that seeds, or one of the two that led there, names a clock.
    """
    try:
        number = int(seed) if isinstance(seed, float) else operator.index(seed)
    except (TypeError, ValueError, OverflowError):
        return False
    if not SMALL <= number < 2**64:
        return False
    now, ids = time.time_ns(), os.getpid() * _SECOND
    for unit in _UNITS:
        age = now - number * unit
        if -_SECOND <= age <= _WHOLE or -_SECOND <= age + ids <= _WHOLE:  # it may be rounded up
            return True
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("torch."):
        frame = frame.f_back  # what torch.manual_seed goes through, which is more once dynamo has been imported
    near: list[FrameType] = []
    while number < 2**32 and frame is not None and len(near) < 3:
        near.append(frame)
        frame = frame.f_back
    return any(not _CLOCKS.isdisjoint(each.f_code.co_names) for each in near) and any(
        number < modulus and ((now + 500) // unit + 1 - number) % modulus <= limit // unit + 1
        for unit, limit in _PARTS
        for modulus in _MODULI
    )
