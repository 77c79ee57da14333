"""What a tensor is made of, where it is not one row of values: sparse, quantized and nested tensors, wrappers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .bits import kind_of, readable, undispatched


class Components(NamedTuple):
    """The plain tensors that a tensor is made of.

    Attributes:
        kind: "strided", "sparse_coo", "quantized", "nested" and so on; "wrapper ClassName" for a wrapper subclass.
        parts: By name. One of a nested tensor or a wrapper may itself have several components.
        facts: What else makes the value, for a wrapper subclass: by name, of any type.
        coalesced: Whether a sparse COO tensor was; None for all others. Its parts are those of a coalesced copy.
    """

    kind: str
    parts: Mapping[str, Tensor]
    facts: Mapping[str, Any] = {}
    coalesced: bool | None = None


def components(tensor: Tensor) -> Components:
    """Take a tensor apart into plain tensors.

    A sparse COO tensor is coalesced first: entries with the same indices are summed, which is what it stands for.
    Indices are int64 whatever they were. A nested tensor is the tensors in it. A `Parameter` is its data.

    Raises:
        TypeError: It has no values (fake, meta, freed, batched), or it is a wrapper that cannot be taken apart.
    """
    with undispatched():
        tensor = readable(tensor)
        kind = kind_of(tensor)
        return _TAKE_APART.get(kind, _wrapper)(tensor)


def _strided(tensor: Tensor) -> Components:
    return Components("strided", {"values": tensor})


def _mkldnn(tensor: Tensor) -> Components:
    return Components("mkldnn", {"values": tensor.to_dense()})


def _sparse_coo(tensor: Tensor) -> Components:
    whole = tensor.detach().coalesce()
    return Components(
        "sparse_coo", {"indices": whole.indices(), "values": whole.values()}, coalesced=tensor.is_coalesced()
    )


def _compressed(tensor: Tensor) -> Components:
    kind = kind_of(tensor)
    if kind in ("sparse_csr", "sparse_bsr"):
        indices = {"crow": tensor.crow_indices(), "col": tensor.col_indices()}
    else:
        indices = {"ccol": tensor.ccol_indices(), "row": tensor.row_indices()}
    return Components(kind, {**{name: one.to(torch.int64) for name, one in indices.items()}, "values": tensor.values()})


def _quantized(tensor: Tensor) -> Components:
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        scale = torch.full((), tensor.q_scale(), dtype=torch.float64, device=tensor.device)
        zero_point = torch.full((), tensor.q_zero_point(), dtype=torch.int64, device=tensor.device)
        return Components("quantized", {"values": tensor.int_repr(), "scale": scale, "zero_point": zero_point})
    axis = torch.full((), tensor.q_per_channel_axis(), dtype=torch.int64, device=tensor.device)
    return Components(
        "quantized",
        {
            "values": tensor.int_repr(),
            "scale": tensor.q_per_channel_scales(),
            "zero_point": tensor.q_per_channel_zero_points(),
            "axis": axis,
        },
    )


def _nested(tensor: Tensor) -> Components:
    return Components("nested", {str(place): part for place, part in enumerate(tensor.unbind())})


def _wrapper(tensor: Tensor) -> Components:
    """Take a wrapper subclass apart as it says itself; of a DTensor take what this rank holds."""
    if hasattr(tensor, "_local_tensor") and hasattr(tensor, "placements"):
        placements = tuple(str(placement) for placement in tensor.placements)
        return Components("wrapper DTensor", {"local": tensor._local_tensor}, {"placements": placements})
    names, context = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    held = {name: getattr(tensor, name) for name in names}
    return Components(
        kind_of(tensor),
        {name: value for name, value in held.items() if isinstance(value, Tensor)},
        {**{name: value for name, value in held.items() if not isinstance(value, Tensor)}, "context": context},
    )


_TAKE_APART: Mapping[str, Callable[[Tensor], Components]] = {
    "strided": _strided,
    "mkldnn": _mkldnn,
    "sparse_coo": _sparse_coo,
    "sparse_csr": _compressed,
    "sparse_csc": _compressed,
    "sparse_bsr": _compressed,
    "sparse_bsc": _compressed,
    "quantized": _quantized,
    "nested": _nested,
}
