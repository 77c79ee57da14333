"""The default dtype and the default device of new tensors."""

from __future__ import annotations

from typing import Any

import torch

from .base import Flag, FlagSource

_PER_THREAD = torch._GLOBAL_DEVICE_CONTEXT


def _get_device() -> str | None:
    # torch.get_default_device() cannot tell "none set" from "cpu set", and takes 5 us; a getattr that finds nothing, 1.
    mode = _PER_THREAD.__dict__.get("device_context")
    return None if mode is None else str(mode.device)


class Defaults(FlagSource):
    """`torch.set_default_dtype` and `torch.set_default_device`; the device is per thread."""

    name = "torch.defaults"

    def __init__(self) -> None:
        set_device: Any = torch.set_default_device
        super().__init__(
            (
                Flag("dtype", torch.get_default_dtype, torch.set_default_dtype),
                Flag("device", _get_device, set_device),
            )
        )
