"""The device of new tensors."""

from __future__ import annotations

from typing import Any

import torch

from .base import Flag, FlagSource

_PER_THREAD = torch._GLOBAL_DEVICE_CONTEXT


def _get_device() -> str | None:
    # torch.get_default_device() cannot tell "none set" from "cpu set", and takes 5 us; a getattr that finds nothing, 1.
    mode = _PER_THREAD.__dict__.get("device_context")
    return None if mode is None else str(mode.device)


def _set_device(device: str | None) -> None:
    set_device: Any = torch.set_default_device
    set_device(device)
    if device is None:
        # "None set" is where the attribute is missing; torch 2.6 leaves a None, on which its get_default_device raises.
        _PER_THREAD.__dict__.pop("device_context", None)


class DefaultDevice(FlagSource):
    """`torch.set_default_device`. Per thread."""

    name = "torch.default_device"
    per_thread = True

    def __init__(self) -> None:
        super().__init__((Flag("device", _get_device, _set_device),))
