"""What stands for a tensor in a checkpoint, of whatever layout: JSON, and storages, each once however many share it."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..ground.torch_names import require
from ..values.bits import readable, undispatched

require("checkpoint")

DTYPES: Mapping[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)
}

_ALIGNMENT = 16  # bytes: the size of the largest dtype, so that what is stored begins where any of them may

_SAFETENSORS = {
    "bfloat16": "BF16",
    "bool": "BOOL",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
}
"""Of what other dtypes take, the bytes are stored."""

MOST_DIMENSIONS = 64
"""As many as torch's and numpy's operations take; the product of a million lengths would take hours."""

_MANY_BYTES = 1 << 22  # of which there are large pages

_INDICES = {
    "sparse_coo": ("indices",),
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
    "sparse_bsr": ("crow_indices", "col_indices"),
    "sparse_bsc": ("ccol_indices", "row_indices"),
}
_QUANTIZED = (torch.qint8, torch.quint8, torch.qint32)  # whose values are one integer each


class StoredPart(NamedTuple):
    """One of the parts of a file: the bytes of a storage that tensors use, and where in it they begin.

    Its dtype is as safetensors calls it ("F32"), and its shape that of the memory in that dtype.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    memory: Tensor
    start: int


@dataclass
class _Range:
    """The bytes of a storage that the tensors so far use; one of them holds it until the file is written."""

    number: int
    owner: Tensor
    name: str
    first: int
    last: int


class StoredTensors:
    """The tensors that go into a file; of a large storage in which small ones lie, the range that they use goes in."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[torch.device, int], _Range] = {}

    def describe(self, tensor: Tensor, path: str) -> dict[str, Any]:
        """Return what stands for a tensor, as JSON; its memory is added to the storages, under this path if it is new.

        A TypeError says that it has no values, or is of a class of its own, or of a kind that torch itself cannot make.
        """
        with undispatched():
            if type(tensor) not in (Tensor, torch.nn.Parameter) and not tensor.is_nested:
                raise TypeError(f"a tensor of the class {type(tensor).__name__}")
            described = self._describe(readable(tensor).detach(), path)
        return {**described, "requires_grad": True} if tensor.requires_grad else described

    def parts(self, taken: Container[str] = ()) -> list[StoredPart]:
        """Return what goes into the file, under names that are not taken: a storage's number is an index of these."""
        named: dict[str, StoredPart] = {}
        for number, held in enumerate(self._ranges.values()):
            name = held.name
            while name in named or name in taken or name == "__metadata__":
                name += f" ({number})"
            named[name] = _part(name, held)
        return [*named.values()]

    def _describe(self, tensor: Tensor, path: str) -> dict[str, Any]:
        def parts(**tensors: Tensor) -> dict[str, Any]:
            return {name: self._describe(of, f"{path}.{name}") for name, of in tensors.items()}

        layout = str(tensor.layout).removeprefix("torch.")
        if tensor.is_nested:
            return _describe_nested(tensor, parts)
        if layout in _INDICES:
            is_coo = layout == "sparse_coo"  # whose public names refuse one that is not coalesced
            held = parts(**{name: getattr(tensor, "_" * is_coo + name)() for name in (*_INDICES[layout], "values")})
            more = {"coalesced": tensor.is_coalesced()} if is_coo else {}
            return {"layout": layout, **held, "shape": list(tensor.shape), **more}
        if tensor.is_quantized:
            return _describe_quantized(tensor, parts)
        if tensor.layout is not torch.strided:
            raise TypeError(f"a tensor of the layout {layout}")
        if tensor._is_zerotensor():  # it has no memory
            tensor = tensor.clone()
        return self._describe_strided(tensor.resolve_conj().resolve_neg(), path)

    def _describe_strided(self, tensor: Tensor, path: str) -> dict[str, Any]:
        if tensor.dim() > MOST_DIMENSIONS or not is_storable(tensor.dtype):
            raise TypeError(f"a tensor of {tensor.dim()} dimensions and dtype {name_of(tensor.dtype)}")
        size = tensor.element_size()
        reach = _reach(tensor.shape, tensor.stride())
        if tensor.numel() > reach + 1:  # elements that share memory, as `expand` makes them
            tensor = tensor.contiguous()
            reach = tensor.numel() - 1
        first = int(tensor.storage_offset()) * size
        last = first + (reach + 1) * size if tensor.numel() else first
        key = tensor.device, tensor.untyped_storage()._cdata
        held = self._ranges.setdefault(key, _Range(len(self._ranges), tensor, path, first, last))
        held.first, held.last = min(first, held.first), max(last, held.last)
        described = {"storage": held.number, "dtype": name_of(tensor.dtype), "shape": list(tensor.shape)}
        if not tensor.is_contiguous():
            described["stride"] = list(tensor.stride())
        return {**described, "offset": first, "device": str(tensor.device)}


def _describe_nested(tensor: Any, parts: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    if tensor.layout is torch.strided and not tensor.size(0):
        raise TypeError("a nested tensor of nothing")
    if tensor.layout is torch.strided:
        held = parts(**{str(place): one for place, one in enumerate(tensor.unbind())})
        return {"layout": "nested", "tensors": [*held.values()]}
    if tensor._ragged_idx != 1:
        raise TypeError("a jagged tensor that is transposed")
    held = parts(values=tensor.values(), offsets=tensor.offsets())
    lengths = tensor.lengths()
    return {"layout": "jagged", **held, **({"lengths": None} if lengths is None else parts(lengths=lengths))}


def _describe_quantized(tensor: Tensor, parts: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    if tensor.dtype not in _QUANTIZED:
        raise TypeError(f"a tensor of dtype {name_of(tensor.dtype)}")
    described = {"layout": "quantized", **parts(values=tensor.int_repr())}
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return {**described, "scale": tensor.q_scale().hex(), "zero_point": tensor.q_zero_point()}
    held = parts(scales=tensor.q_per_channel_scales(), zero_points=tensor.q_per_channel_zero_points())
    return {**described, **held, "axis": tensor.q_per_channel_axis()}


def _part(name: str, held: _Range) -> StoredPart:
    """Return the part for a range; a tensor that has it for itself is stored as what it is."""
    tensor, start = held.owner, held.first - held.first % _ALIGNMENT
    with undispatched():
        memory = torch.empty(0, dtype=torch.uint8, device=tensor.device)
        memory.set_(tensor.untyped_storage(), start, (held.last - start,), (1,))
    if name_of(tensor.dtype) in _SAFETENSORS and tensor.is_contiguous() and tensor.nbytes == memory.nbytes:
        return part_of(name, tensor)._replace(memory=memory, start=start)
    return StoredPart(name, "U8", tuple(memory.shape), memory, start)


def part_of(name: str, tensor: Tensor) -> StoredPart:
    """Return the part for a tensor that is stored by itself, whatever its strides: its values in their order."""
    dtype = _SAFETENSORS.get(name_of(tensor.dtype))
    return StoredPart(name, dtype or "U8", tuple(tensor.shape) if dtype else (tensor.nbytes,), tensor, 0)


class LoadedTensors:
    """The tensors that come out of a file: of a table of storages (a part's name, its start), and each part's bytes."""

    def __init__(self, table: Any, data: Mapping[str, Tensor]) -> None:
        self._data: list[tuple[Tensor, int]] = []
        self._moved: dict[tuple[int, torch.device], torch.UntypedStorage] = {}
        for name, start in table:
            if name not in data or not is_count(start) or start % _ALIGNMENT:
                raise ValueError(f"a storage {name!r} at {start!r}")
            self._data.append((data[name], start))

    def tensor(self, described: Any) -> Tensor:
        """Return the tensor that `StoredTensors.describe` described; raise whatever comes of anything else."""
        with undispatched():
            tensor = self._tensor(described)
            return tensor.requires_grad_() if described.get("requires_grad") is True else tensor

    def _tensor(self, described: Any) -> Tensor:
        def part(name: str) -> Tensor:
            return self._tensor(described[name])

        if not isinstance(described, dict):
            raise TypeError(f"a {type(described).__name__} in the place of a tensor")
        layout = described.get("layout")
        if layout is None:
            return self._strided(described)
        if layout in _INDICES:
            make: Any = torch.sparse_compressed_tensor
            more = {"layout": getattr(torch, layout)}
            if layout == "sparse_coo":
                make, more = torch.sparse_coo_tensor, {"is_coalesced": described["coalesced"] is True}
            held = (part(name) for name in (*_INDICES[layout], "values"))
            made: Tensor = make(*held, tuple(described["shape"]), check_invariants=True, **more)
            return made
        if layout == "quantized":
            return _quantized(described, part)
        if layout == "nested":
            return torch.nested.as_nested_tensor([self._tensor(one) for one in described["tensors"]])
        if layout == "jagged":
            return _jagged(part("values"), part("offsets"), None if described["lengths"] is None else part("lengths"))
        raise ValueError(f"a tensor of the layout {layout!r}")

    def _strided(self, described: Mapping[str, Any]) -> Tensor:
        number, shape = described["storage"], described["shape"]
        dtype = DTYPES.get(described["dtype"])
        if len(shape) > MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {len(shape)} dimensions")
        stride = described.get("stride") or torch.empty(shape, device="meta").stride()
        if dtype is None or not is_storable(dtype) or not is_count(number) or number >= len(self._data):
            raise ValueError(f"a tensor of dtype {described['dtype']!r} in storage {number!r}")
        if len(shape) != len(stride) or not all(map(is_count, [*shape, *stride, described["offset"]])):
            raise ValueError(f"a tensor of shape {shape!r} and stride {stride!r}")
        data, start = self._data[number]
        size = dtype.itemsize
        offset = described["offset"] - start
        reach = _reach(shape, stride)
        end = offset + (reach + 1) * size if prod(shape) else offset
        if offset < 0 or offset % size or end > len(data) or prod(shape) > max(reach + 1, 0):
            raise ValueError(f"a tensor of shape {shape!r} that is not within its storage")
        device = home_of(device_named(described["device"]))
        if (number, device) not in self._moved:
            self._moved[number, device] = data.to(device).untyped_storage()
        tensor = torch.empty(0, dtype=dtype, device=device)
        return tensor.set_(self._moved[number, device], offset // size, tuple(shape), tuple(stride))


def _jagged(values: Tensor, offsets: Tensor, lengths: Tensor | None) -> Tensor:
    """Make a jagged tensor of offsets that are within its values, which torch does not check."""
    starts = offsets[:-1]
    ends = offsets[1:] if lengths is None else starts + lengths
    are_wrong = (starts < 0) | (ends < starts) | (ends > len(values))
    if values.dim() < 1 or offsets.dim() != 1 or bool(are_wrong.any()):
        raise ValueError("a jagged tensor whose offsets are not within its values")
    return torch.nested.nested_tensor_from_jagged(values, offsets, lengths)


def _quantized(described: Mapping[str, Any], part: Callable[[str], Tensor]) -> Tensor:
    make: Any = torch
    made: Tensor
    if "axis" not in described:
        scale = float.fromhex(described["scale"])
        made = make._make_per_tensor_quantized_tensor(part("values"), scale, described["zero_point"])
        return made
    values, scales, axis = part("values"), part("scales"), described["axis"]
    if type(axis) is not int or not 0 <= axis < values.dim() or scales.shape != (values.shape[axis],):
        raise ValueError(f"scales of shape {[*scales.shape]} for the dimension {axis!r} of {[*values.shape]}")
    made = make._make_per_channel_quantized_tensor(values, scales, part("zero_points"), axis)
    return made


def memory_of(nbytes: int) -> Tensor:
    """Return so many bytes on the CPU, to be written: of `torch.empty` deterministic algorithms would fill them first.

    Where it has large pages, Linux makes these for many bytes: small ones take longer to come than what is read into
    them.
    """
    if nbytes >= _MANY_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        memory = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
        return torch.frombuffer(memory, dtype=torch.uint8)
    storage = torch.UntypedStorage(nbytes, device="cpu")
    return torch.empty(0, dtype=torch.uint8, device="cpu").set_(storage, 0, (nbytes,), (1,))


def device_named(text: Any) -> torch.device:
    """Return the device that a file names; torch takes a number, too, from 2.14 on without an accelerator."""
    if type(text) is not str:
        raise TypeError(f"the device {text!r}")
    return torch.device(text)


def home_of(device: torch.device) -> torch.device:
    """Return where to put tensors that were on a device: there, else on the CPU.

    With several ranks, each has the accelerator that is its own where rank 0, which wrote the file, had another.
    """
    if device.type != "cpu" and torch.accelerator.is_available():  # torch 2.6 raises where it finds none
        accelerator = torch.accelerator.current_accelerator()
        if accelerator is not None and accelerator.type == device.type:
            several = torch.distributed.is_available() and torch.distributed.is_initialized()
            if not several and (device.index or 0) < torch.accelerator.device_count():
                return device
            # torch 2.6 calls it otherwise.
            current = getattr(torch.accelerator, "current_device_index", None) or torch.accelerator.current_device_idx
            return torch.device(device.type, current())
    return torch.device("cpu")


def name_of(dtype: torch.dtype) -> str:
    """Return what a dtype is called in a file."""
    return str(dtype).removeprefix("torch.")


def is_storable(dtype: torch.dtype) -> bool:
    """Return whether a dtype's values are no more than their memory."""
    return not name_of(dtype).startswith(("qint", "quint"))


def _reach(shape: Sequence[int], stride: Sequence[int]) -> int:
    """Return how many elements the last one is behind the first."""
    return int(sum((length - 1) * step for length, step in zip(shape, stride, strict=True)))


def is_count(number: Any) -> bool:
    """Return whether what a file says is a whole number that can be a size or a place."""
    return type(number) is int and 0 <= number < 1 << 62
