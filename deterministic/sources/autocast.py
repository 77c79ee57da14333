"""Autocast, as far as it outlives a `with` block: switched on by hand, or left on by an unfinished generator."""

from __future__ import annotations

from functools import partial

import torch

from .base import Flag, FlagSource


def _devices() -> tuple[str, ...]:
    """Return the device types that this build of torch can have."""
    mps = ("mps",) if torch.backends.mps.is_built() else ()
    xpu = ("xpu",) if torch.xpu._is_compiled() else ()
    return ("cpu", "cuda", *mps, *xpu)


class Autocast(FlagSource):
    """`torch.set_autocast_*`, by device type: enabled, dtype; and the cache of cast weights. Per thread."""

    name = "torch.autocast"
    per_thread = True

    def __init__(self) -> None:
        flags = [Flag("cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)]
        for device in _devices():
            flags += (
                Flag(
                    f"{device}", partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device)
                ),
                Flag(
                    f"{device}_dtype",
                    partial(torch.get_autocast_dtype, device),
                    partial(torch.set_autocast_dtype, device),
                ),
            )
        super().__init__(flags)
