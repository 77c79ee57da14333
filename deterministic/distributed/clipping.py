"""The norm of all gradients, added up in one order whatever part of them a rank has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
import torch.distributed
from torch import Tensor

from ..errors import DeterministicError, value_error
from .reduction import tree_sum

BLOCK = 2**22  # numbers that are squared at once, in float64


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Scale gradients down to a norm, in place, to the same bits on any number of ranks, and return their norm.

    `torch.nn.utils.clip_grad_norm_` takes the norm of what each rank has of a sharded gradient, and the norm of these:
    another sum on another number of ranks. Here each row is added up by itself, in float64, which lies whole on one
    rank; and then all rows, in one binary tree. It touches nothing but the gradients. Every rank of a sharded model
    calls it at the same place. Not thread-safe.

    Args:
        parameters: Whose gradients: plain tensors, or DTensors that are sharded by rows over one mesh dimension, as
            `fully_shard` makes them. Those without a gradient are left out.
        max_norm: Of all gradients as one vector, at least 0; what is below it is left as it is.
        norm_type: 1, 2 or infinity. Other powers depend, in their last bit, on where a number lies in memory.

    Returns:
        The norm before the scaling, a tensor with one number of the first gradient's type.

    Raises:
        ValueError: `norm_type` is another one.
        DeterministicError: A gradient is sparse, or a DTensor that lies in another way on the ranks.

    Example:
        >>> import torch
        >>> from deterministic.distributed import clip_grad_norm_
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
        >>> clip_grad_norm_([weight], max_norm=1.0)
        tensor(5.)
        >>> weight.grad
        tensor([0.6000, 0.8000])
    """
    if norm_type not in (1, 2, math.inf):
        raise value_error(
            "a norm of this type is not the same everywhere", (f"norm_type: {norm_type}",), "Pass 1, 2 or inf."
        )
    every = [parameters] if isinstance(parameters, Tensor) else [*parameters]
    gradients: list[Any] = [one.grad for one in every if one.grad is not None]
    if not gradients:
        return torch.tensor(0.0)
    meshes = [_mesh(gradient) for gradient in gradients]
    with torch.no_grad():
        owns = [_own(gradient) for gradient in gradients]
        rows = [_rows(own, norm_type) for own in owns]
        for mesh in dict.fromkeys(mesh for mesh in meshes if mesh is not None):
            places = [place for place, one in enumerate(meshes) if one == mesh]
            whole = [_placed(rows[place], len(gradients[place]), mesh) for place in places]
            joined = torch.cat(whole)
            torch.distributed.all_reduce(joined, group=mesh.get_group())  # exact: all but one are zero
            for place, part in zip(places, joined.split([len(one) for one in whole]), strict=True):
                rows[place] = part
        joined = torch.cat([one.to(rows[0].device) for one in rows])
        norm = joined.amax() if norm_type == math.inf else tree_sum(joined)
        norm = norm.sqrt() if norm_type == 2 else norm
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for own in owns:
            own.mul_(factor.to(own.device, own.dtype))
        return norm.to(gradients[0].dtype)


def _mesh(gradient: Any) -> Any:
    """Return the mesh over which a gradient's rows are spread; None if each rank has all of them."""
    mesh: Any = getattr(gradient, "device_mesh", None)
    placements: Any = getattr(gradient, "placements", None)
    if gradient.layout != torch.strided:
        _refuse(f"a gradient that is {gradient.layout}", "Make dense ones: sparse=False.")
    if mesh is None or all(placement.is_replicate() for placement in placements):
        return None
    if mesh.ndim != 1 or not placements[0].is_shard(0):
        _refuse(f"{placements} over a mesh of {[*mesh.shape]}", "Shard the first dimension, over one mesh dimension.")
    return mesh


def _own(gradient: Any) -> Tensor:
    """Return what a rank has of a gradient."""
    own: Tensor = gradient.to_local() if hasattr(gradient, "device_mesh") else gradient
    return own


def _rows(own: Tensor, norm_type: float) -> Tensor:
    """Return what each row adds to the norm, added up by operations that do not depend on the number of rows."""
    if not own.numel():
        return own.new_zeros(len(own), dtype=torch.float64)
    flat = own.reshape(len(own), -1) if own.dim() else own.reshape(1, 1)
    if norm_type == math.inf:
        return flat.abs().amax(1).double()
    added = []
    for block in flat.split(max(1, BLOCK // flat.shape[1])):
        columns = block.t().double()
        added.append(tree_sum(columns.abs() if norm_type == 1 else columns * columns))
    return torch.cat(added)


def _placed(rows: Tensor, count: int, mesh: Any) -> Tensor:
    """Return so many rows, of which this rank has given its own, and the others are zero."""
    size = -(-count // mesh.size())
    whole = rows.new_zeros(count)
    whole[mesh.get_local_rank() * size :][: len(rows)] = rows
    return whole


def _refuse(found: str, remedy: str) -> NoReturn:
    raise DeterministicError("the norm of a gradient cannot be added up by rows", (f"found: {found}",), remedy)
