"""How a record says what a tensor or a number is, and what was in it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
import xxhash
from torch.nn.parameter import is_lazy

from .bits import memory
from .fingerprint import fingerprint
from .hashes import hash_on_device, hash_on_host

Hash: TypeAlias = "int | torch.Tensor"
"""64 bits, or a 0-dimensional tensor on a device that is fetched later."""

NOT_COMPARED = "not compared"
"""Ends the type of a value that has no fingerprint, or whose values cannot be read."""

UNREADABLE = f"unreadable, {NOT_COMPARED}"
"""Ends the type of a tensor that holds values which cannot be read, and of what holds such a tensor."""

_MASK = (1 << 64) - 1
_NUMBERS = (bool, int, float, complex)

_PLAIN = (torch.Tensor, torch.nn.Parameter)


class Type(NamedTuple):
    """The type of a tensor, as cheap as it can be taken on every operation."""

    dtype: torch.dtype
    shape: torch.Size
    strides: tuple[int, ...] | None
    device: torch.device | None
    layout: torch.layout

    def __str__(self) -> str:
        text = f"{str(self.dtype).removeprefix('torch.')}{list(self.shape)}"
        if self.strides is not None:
            text += f"/{list(self.strides)}"
        if self.layout is not torch.strided:
            text += f" {str(self.layout).removeprefix('torch.')}"
        return text if self.device is None else f"{text} {self.device}"


def dispatches(kind: type[torch.Tensor]) -> bool:
    """Return whether tensors of a class take operations into their own hands."""
    return kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


def is_plain(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is memory of its own: of a class that leaves operations to torch."""
    kind = type(tensor)
    return kind in _PLAIN or not (dispatches(kind) or is_lazy(tensor))


def read(tensor: torch.Tensor) -> tuple[Type | str, Hash]:
    """Return the type of a tensor and the hash of its logical values, whatever it is.

    The type has strides where they are not those of a contiguous tensor, and the device where it is not the CPU; of a
    tensor without values it says so, and the hash is 0. A device is not waited for.
    """
    plain = memory(tensor)
    if plain is not None:
        strides = None if tensor.is_contiguous() else tensor.stride()
        return Type(tensor.dtype, tensor.shape, strides, None, torch.strided), xxhash.xxh3_64_intdigest(plain)
    if is_plain(tensor):
        try:
            return _type_of(tensor), _hash_of(tensor)
        except (TypeError, RuntimeError) as error:  # meta, freed, inside torch.vmap
            return _unread(str(tensor.dtype).removeprefix("torch."), tensor, error), 0
    return read_any(tensor)


def _type_of(tensor: torch.Tensor) -> Type:
    layout = tensor.layout
    is_contiguous = layout is not torch.strided or tensor.is_nested or tensor.is_contiguous()
    return Type(
        tensor.dtype,
        torch.Size(()) if tensor.is_nested else tensor.shape,
        None if is_contiguous else tensor.stride(),
        None if tensor.is_cpu else tensor.device,
        layout,
    )


def _hash_of(tensor: torch.Tensor) -> Hash:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta:
        return int(fingerprint(tensor)[:16], 16)
    return hash_on_host(tensor) if tensor.is_cpu else hash_on_device(tensor)


def read_any(value: Any) -> tuple[str, int]:
    """Return the class of a value and 64 bits of its fingerprint; of what has none it says so, and the hash is 0.

    Raises:
        ValueError: A list, a tuple or a mapping contains itself, or is nested too deep.
    """
    name = "text" if isinstance(value, str) else type(value).__name__
    try:
        return name, int(fingerprint(value)[:16], 16)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ValueError) and isinstance(value, (list, tuple, Mapping)):
            raise
        return _unread(name, value, error), 0


def _unread(name: str, value: Any, error: Exception) -> str:
    is_tensor = isinstance(value, torch.Tensor)
    if getattr(error, "is_hollow", not is_tensor):  # what stops at a tensor has values, unless that says otherwise
        return f"{name}{' without values' * is_tensor}, {NOT_COMPARED}"
    return f"{name}, {UNREADABLE}"


def is_number(value: Any) -> bool:
    """Return whether a value is recorded as its own 64 bits."""
    return isinstance(value, _NUMBERS)


def number_type(value: Any) -> str:
    """Return how a record calls the type of a number: "float", "int", "bool", "complex"; "text" for anything else."""
    return (
        type(value).__name__
        if type(value) in _NUMBERS
        else next((kind.__name__ for kind in _NUMBERS if isinstance(value, kind)), "text")
    )


def number_bits(value: Any) -> int:
    """Return the 64 bits of a number; of a complex one a hash."""
    if isinstance(value, int):
        return int(value) & _MASK
    if isinstance(value, float):
        return int.from_bytes(struct.pack("<d", value), "little")
    return xxhash.xxh3_64_intdigest(struct.pack("<dd", value.real, value.imag))


def number_from(kind: str, bits: int) -> int | float | bool | None:
    """Return the number that `number_bits` was given; None where its bits do not tell it."""
    if kind == "bool":
        return bool(bits)
    if kind == "int":
        return bits - (1 << 64) if bits >> 63 else bits
    if kind == "float":
        value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
        return value
    return None
