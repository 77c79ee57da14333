"""The dtype of new floating-point tensors."""

from __future__ import annotations

import torch

from .base import Flag, FlagSource


class DefaultDtype(FlagSource):
    """`torch.set_default_dtype`."""

    name = "torch.default_dtype"

    def __init__(self) -> None:
        super().__init__((Flag("dtype", torch.get_default_dtype, torch.set_default_dtype),))
