"""Whether the processor treats subnormal floats as zero."""

from __future__ import annotations

import sys

import torch

from .base import Flag, FlagSource

_SMALLEST_NORMAL = sys.float_info.min


def _get() -> bool:
    # torch has a setter and no getter. The multiplication is done by the processor at each call (the operand is a
    # global, so the compiler cannot fold it): half of the smallest normal number is subnormal.
    return _SMALLEST_NORMAL * 0.5 == 0.0


class FlushDenormal(FlagSource):
    """`torch.set_flush_denormal`. Per operating system thread; OpenMP workers that exist already do not follow."""

    name = "torch.flush_denormal"
    per_thread = True

    def __init__(self) -> None:
        super().__init__((Flag("flush_denormal", _get, torch.set_flush_denormal),))
