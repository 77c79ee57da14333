"""Tensors that are spread over ranks: DTensor, as FSDP2 (`fully_shard`) and tensor parallelism make them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

import torch

from .bits import Unreadable, undispatched

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(value: object) -> TypeGuard[DTensor]:
    """Return whether a value is a DTensor; without an import of torch's, for where there is none it was not made."""
    module = sys.modules.get("torch.distributed.tensor")
    return isinstance(value, getattr(module, "DTensor", ()))


def is_here(tensor: DTensor) -> bool:
    """Return whether this rank belongs to the mesh of a DTensor, and so holds a part of it, though it may be empty."""
    return tensor.device_mesh.get_coordinate() is not None


def whole(tensor: DTensor) -> torch.Tensor:
    """Return all of a DTensor, on every rank of its mesh; each of them must call it. What is partial is reduced."""
    if not is_here(tensor):
        raise Unreadable(
            "a sharded tensor is on other ranks alone",
            f"a mesh of the ranks {tensor.device_mesh.mesh.tolist()}",
            "Pass it on those ranks alone, or full=False for what a rank has itself.",
            is_hollow=False,
        )
    with undispatched(), torch.no_grad():
        return tensor.full_tensor()
