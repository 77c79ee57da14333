"""The memory of tensors in a checkpoint: each storage once, however many tensors share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..values.bits import feed, undispatched
from .container import Part

ALIGNMENT = 16
"""Bytes: the size of the largest dtype, so that what is stored begins where any of them may."""

DTYPES: Mapping[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)
}

_SAFETENSORS = {
    "bfloat16": "BF16",
    "bool": "BOOL",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "int8": "I8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "uint8": "U8",
}
"""Of what other dtypes take, the bytes are stored."""

_MOST_DIMENSIONS = 64
"""As many as torch's and numpy's operations take; the product of a million lengths would take hours."""

_QUANTIZED = ("qint", "quint")
"""Begin the names of dtypes whose values are more than their memory."""


class _Held(NamedTuple):
    """A storage, and the range of its bytes that tensors use."""

    owner: Tensor
    name: str
    first: int
    last: int


class Storages:
    """The storages of the tensors that go into a file.

    A storage is held by one of its tensors until the file is written. Of a large one in which small tensors lie, the
    range that they use is stored.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[torch.device, int], _Held] = {}
        self._numbers: dict[tuple[torch.device, int], int] = {}
        self._ranges: dict[str, tuple[Tensor, int, int]] = {}

    def add(self, tensor: Tensor, name: str) -> dict[str, Any]:
        """Note a tensor, and return what stands for it, as JSON.

        Args:
            tensor: Strided, with values; neither conjugated nor negated.
            name: What the storage is called, if it is new.

        Raises:
            TypeError: It has too many dimensions, or is quantized in a way that torch itself does not know.
        """
        if tensor.dim() > _MOST_DIMENSIONS or _name(tensor.dtype).startswith(_QUANTIZED):
            raise TypeError(f"a tensor of {tensor.dim()} dimensions and dtype {_name(tensor.dtype)}")
        size = tensor.element_size()
        reach = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
        if tensor.numel() > reach + 1:  # elements that share memory, as `expand` makes them
            tensor = tensor.contiguous()
            reach = tensor.numel() - 1
        first = int(tensor.storage_offset()) * size
        last = first + (int(reach) + 1) * size if tensor.numel() else first
        key = tensor.device, tensor.untyped_storage()._cdata
        held = self._held.get(key)
        if held is None:
            self._numbers[key] = len(self._numbers)
            held = _Held(tensor, name, first, last)
        else:
            held = held._replace(first=min(first, held.first), last=max(last, held.last))
        self._held[key] = held
        described = {"storage": self._numbers[key], "dtype": _name(tensor.dtype), "shape": list(tensor.shape)}
        if not tensor.is_contiguous():
            described["stride"] = list(tensor.stride())
        return {**described, "offset": first, "device": str(tensor.device)}

    def table(self) -> list[list[Any]]:
        """Return for each storage the name of its part, and where in the storage the part begins; as JSON."""
        return [[name, first] for name, (first, _) in self._named()]

    def parts(self) -> list[Part]:
        """Return what goes into the file, the widest dtypes first: so each is aligned, as safetensors' readers want."""
        named = [*zip(self._named(), self._held.values(), strict=True)]
        self._ranges = {name: (held.owner, first, last) for (name, (first, last)), held in named}
        found = [_part(name, held, first, last) for (name, (first, last)), held in named]
        return sorted(found, key=lambda part: -(part.nbytes // prod(part.shape) if part.nbytes else ALIGNMENT))

    def feed(self, part: Part, take: Callable[[Any], None]) -> None:
        """Give the bytes of one of the parts that `parts` returned, in pieces of at most 16 MiB."""
        owner, first, last = self._ranges[part.name]
        if last > first:
            with undispatched():
                whole = torch.empty(0, dtype=torch.uint8, device=owner.device)
                feed(whole.set_(owner.untyped_storage(), first, (last - first,), (1,)), take)

    def _named(self) -> list[tuple[str, tuple[int, int]]]:
        named, taken = [], {"__metadata__"}
        for number, held in enumerate(self._held.values()):
            name = held.name
            while name in taken:
                name += f" ({number})"
            taken.add(name)
            named.append((name, (held.first - held.first % ALIGNMENT, held.last)))
        return named


def _part(name: str, held: _Held, first: int, last: int) -> Part:
    tensor = held.owner
    dtype = _SAFETENSORS.get(_name(tensor.dtype))
    if dtype and tensor.is_contiguous() and tensor.nbytes == last - first:
        return Part(name, dtype, tuple(tensor.shape), tensor.nbytes)
    return Part(name, "U8", (last - first,), last - first)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class LoadedStorages:
    """The storages that came out of a file.

    Args:
        table: What `Storages.table` returned.
        data: The bytes of each part, by name.
        place: Tells on which device to put what was on one.

    Raises:
        ValueError: The table does not fit the data.
    """

    def __init__(self, table: Any, data: Mapping[str, Tensor], place: Callable[[torch.device], torch.device]) -> None:
        self._starts: list[int] = []
        self._data: list[Tensor] = []
        self._place = place
        self._moved: dict[tuple[int, torch.device], torch.UntypedStorage] = {}
        for name, start in table:
            if name not in data or not _is_count(start) or start % ALIGNMENT:
                raise ValueError(f"a storage {name!r} at {start!r}")
            self._data.append(data[name])
            self._starts.append(start)

    def tensor(self, described: Any) -> Tensor:
        """Return the tensor that `Storages.add` described.

        Raises:
            ValueError: It is not described, or is not all within its storage.
        """
        number, shape = described["storage"], described["shape"]
        dtype = DTYPES.get(described["dtype"])
        if len(shape) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {len(shape)} dimensions")
        stride = described.get("stride") or _contiguous(shape)
        if dtype is None or _name(dtype).startswith(_QUANTIZED) or not _is_count(number) or number >= len(self._data):
            raise ValueError(f"a tensor of dtype {described['dtype']!r} in storage {number!r}")
        counts = [*shape, *stride, described["offset"]]
        if len(shape) != len(stride) or not all(map(_is_count, counts)):
            raise ValueError(f"a tensor of shape {shape!r} and stride {stride!r}")
        size = dtype.itemsize
        offset = described["offset"] - self._starts[number]
        reach = sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        end = offset + (reach + 1) * size if prod(shape) else offset
        if offset < 0 or offset % size or end > len(self._data[number]) or prod(shape) > max(reach + 1, 0):
            raise ValueError(f"a tensor of shape {shape!r} that is not within its storage")
        device = self._place(device_named(described["device"]))
        storage = self._storage(number, device)
        return torch.empty(0, dtype=dtype, device=device).set_(storage, offset // size, tuple(shape), tuple(stride))

    def _storage(self, number: int, device: torch.device) -> torch.UntypedStorage:
        if (number, device) not in self._moved:
            self._moved[number, device] = self._data[number].to(device).untyped_storage()
        return self._moved[number, device]


def device_named(text: Any) -> torch.device:
    """Return the device that a file names; torch takes a number for an accelerator's, from 2.14 on without one, too."""
    if type(text) is not str:
        raise TypeError(f"the device {text!r}")
    return torch.device(text)


def _contiguous(shape: Sequence[int]) -> list[int]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(1, length)
    return strides[::-1]


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62
