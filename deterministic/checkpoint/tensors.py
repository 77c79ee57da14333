"""What stands for a tensor in a checkpoint, of whatever layout: JSON, and storages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..ground.torch_names import require
from ..values.bits import readable, undispatched
from .storages import LoadedStorages, Storages

require("checkpoint")

_PLAIN = (Tensor, torch.nn.Parameter)
_COMPRESSED = {
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
    "sparse_bsr": ("crow_indices", "col_indices"),
    "sparse_bsc": ("ccol_indices", "row_indices"),
}
_QUANTIZED = (torch.qint8, torch.quint8, torch.qint32)
"""Whose values are one integer each."""


def encode_tensor(tensor: Tensor, path: str, storages: Storages) -> dict[str, Any]:
    """Return what stands for a tensor; its memory is added to the storages.

    Raises:
        TypeError: It has no values, or is of a class of its own.
    """
    with undispatched():
        if type(tensor) not in _PLAIN and not tensor.is_nested:
            raise TypeError(f"a tensor of the class {type(tensor).__name__}")
        plain = readable(tensor).detach()
        described = _encode(plain, path, storages)
    return {**described, "requires_grad": True} if tensor.requires_grad else described


def _encode(tensor: Tensor, path: str, storages: Storages) -> dict[str, Any]:
    def part(name: str, of: Tensor) -> dict[str, Any]:
        return _encode(of, f"{path}.{name}", storages)

    layout = str(tensor.layout).removeprefix("torch.")
    if tensor.is_nested:
        return _encode_nested(tensor, part)
    if layout == "sparse_coo":
        held = {"indices": part("indices", tensor._indices()), "values": part("values", tensor._values())}
        return {"layout": layout, **held, "shape": list(tensor.shape), "coalesced": tensor.is_coalesced()}
    if layout in _COMPRESSED:
        names = (*_COMPRESSED[layout], "values")
        held = {name: part(name, getattr(tensor, name)()) for name in names}
        return {"layout": layout, **held, "shape": list(tensor.shape)}
    if tensor.is_quantized:
        return _encode_quantized(tensor, part)
    if tensor.layout is not torch.strided:
        raise TypeError(f"a tensor of the layout {layout}")
    if tensor._is_zerotensor():  # it has no memory
        tensor = tensor.clone()
    return storages.add(tensor.resolve_conj().resolve_neg(), path)


def _encode_nested(tensor: Any, part: Callable[[str, Tensor], dict[str, Any]]) -> dict[str, Any]:
    if tensor.layout is torch.strided and not tensor.size(0):
        raise TypeError("a nested tensor of nothing")
    if tensor.layout is torch.strided:
        return {"layout": "nested", "tensors": [part(str(i), one) for i, one in enumerate(tensor.unbind())]}
    if tensor._ragged_idx != 1:
        raise TypeError("a jagged tensor that is transposed")
    lengths = tensor.lengths()
    held = {"values": part("values", tensor.values()), "offsets": part("offsets", tensor.offsets())}
    return {"layout": "jagged", **held, "lengths": None if lengths is None else part("lengths", lengths)}


def _encode_quantized(tensor: Tensor, part: Callable[[str, Tensor], dict[str, Any]]) -> dict[str, Any]:
    if tensor.dtype not in _QUANTIZED:
        raise TypeError(f"a tensor of dtype {str(tensor.dtype).removeprefix('torch.')}")
    described = {"layout": "quantized", "values": part("values", tensor.int_repr())}
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return {**described, "scale": tensor.q_scale().hex(), "zero_point": tensor.q_zero_point()}
    scales, zero_points = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    axis = tensor.q_per_channel_axis()
    return {**described, "scales": part("scales", scales), "zero_points": part("zeros", zero_points), "axis": axis}


def decode_tensor(described: Mapping[str, Any], storages: LoadedStorages) -> Tensor:
    """Return the tensor that `encode_tensor` described.

    Raises:
        ValueError: It is not described.
        RuntimeError: torch refuses it.
    """
    with undispatched():
        tensor = _decode(described, storages)
        return tensor.requires_grad_() if described.get("requires_grad") is True else tensor


def _decode(described: Mapping[str, Any], storages: LoadedStorages) -> Tensor:
    def part(name: str) -> Tensor:
        return _decode(described[name], storages)

    layout = described.get("layout")
    if layout is None:
        return storages.tensor(described)
    checked: Any = {"check_invariants": True}
    if layout == "sparse_coo":
        checked["is_coalesced"] = described["coalesced"] is True
        return torch.sparse_coo_tensor(part("indices"), part("values"), tuple(described["shape"]), **checked)
    if layout in _COMPRESSED:
        checked["layout"] = getattr(torch, layout)
        indices = (part(name) for name in _COMPRESSED[layout])
        make: Any = torch.sparse_compressed_tensor  # whose types say too little
        made: Tensor = make(*indices, part("values"), tuple(described["shape"]), **checked)
        return made
    if layout == "quantized":
        return _decode_quantized(described, part)
    if layout == "nested":
        return torch.nested.as_nested_tensor([_decode(one, storages) for one in described["tensors"]])
    if layout == "jagged":
        lengths = None if described["lengths"] is None else part("lengths")
        return _decode_jagged(part("values"), part("offsets"), lengths)
    raise ValueError(f"a tensor of the layout {layout!r}")


def _decode_jagged(values: Tensor, offsets: Tensor, lengths: Tensor | None) -> Tensor:
    ends = offsets[1:] if lengths is None else offsets[:-1] + lengths  # which torch does not check
    starts = offsets[:-1]
    if values.dim() < 1 or bool((starts < 0).any() or (ends < starts).any() or (ends > len(values)).any()):
        raise ValueError("a jagged tensor whose offsets are not within its values")
    return torch.nested.nested_tensor_from_jagged(values, offsets, lengths)


def _decode_quantized(described: Mapping[str, Any], part: Callable[[str], Tensor]) -> Tensor:
    make: Any = torch
    if "axis" not in described:
        scale = float.fromhex(described["scale"])
        made: Tensor = make._make_per_tensor_quantized_tensor(part("values"), scale, described["zero_point"])
        return made
    values, scales, axis = part("values"), part("scales"), described["axis"]
    if type(axis) is not int or not 0 <= axis < values.dim() or scales.shape != (values.shape[axis],):
        raise ValueError(f"scales of shape {[*scales.shape]} for the dimension {axis!r} of {[*values.shape]}")
    made = make._make_per_channel_quantized_tensor(values, scales, part("zero_points"), axis)
    return made
