"""The bits of a tensor: its logical values as integers, whatever holds them, and the plain tensors it is made of.

Nothing here is seen by a mode that is active (`TorchDispatchMode`, `TorchFunctionMode`, `FakeTensorMode`) or by a
function transform, and nothing here is recorded for autograd.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _disable_current_modes, is_traceable_wrapper_subclass

from ..errors import explain
from ..ground.torch_names import require

require("trace")

PIECE = 1 << 24  # bytes of the largest part of a tensor that is copied at once

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_dispatch_keys, _function_modes = torch._C._dispatch_keys, torch._C._len_torch_function_stack  # for each record
_MEMORY = memoryview((ctypes.c_char * (1 << 62)).from_address(0))
"""All memory there is, of which a part is a buffer: made of ctypes each buffer would take twice as long."""


class Unreadable(TypeError):
    """A tensor has no values that could be read here; where it `is_hollow` there are none, so nothing is missed."""

    def __init__(self, differs: str, actual: str, remedy: str, *, is_hollow: bool = True) -> None:
        self.differs, self.remedy, self.is_hollow = differs, remedy, is_hollow
        self.values = (f"found: {actual}", "expected: a tensor with values")
        super().__init__(explain(differs, self.values, remedy))


@contextmanager
def undispatched() -> Iterator[None]:
    """Let tensor operations of this thread run past every mode and transform, and past `__torch_function__`."""
    with torch._C.DisableTorchFunction(), torch._C._DisableFuncTorch():
        if torch._C._len_torch_dispatch_stack():
            with _disable_current_modes():
                yield
        else:  # entering it costs ten times as much as asking
            yield


def _keys(tensor: Tensor) -> int:
    """Return the dispatch keys of a tensor, as a number: they tell all that can be particular about it."""
    return int(_dispatch_keys(tensor).raw_repr())


def _plain_keys() -> set[int]:
    """Return the dispatch keys of tensors that are nothing but memory of the host."""
    with undispatched(), torch.inference_mode(False):
        keys = {_keys(torch.empty(0, device="cpu"))}
        with torch.inference_mode():
            return keys | {_keys(torch.empty(0, device="cpu"))}


_PLAIN_KEYS = _plain_keys() if sys.byteorder == "little" else set()
_PLAIN_TYPES = {Tensor, torch.nn.Parameter}

_keys_of_rows = set(_PLAIN_KEYS)
"""The dispatch keys of the tensors of plain types that were found to be one row of values, on whatever device."""


def dispatches(kind: type[Tensor]) -> bool:
    """Return whether tensors of a class take operations into their own hands."""
    return kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is memory of its own: of a class that leaves operations to torch."""
    kind = type(tensor)
    return kind in _PLAIN_TYPES or not (dispatches(kind) or is_lazy(tensor))


def memory(tensor: Tensor) -> Any:
    """Return the bytes of a plain tensor of the host; None for any other tensor, for which there is `feed`.

    They are those of `integers`: a buffer where they lie, or a copy if the tensor is small and not contiguous. The
    buffer is valid as long as the tensor is: keep it.
    """
    if type(tensor) in _PLAIN_TYPES and not _function_modes() and _dispatch_keys(tensor).raw_repr() in _PLAIN_KEYS:
        address = tensor.data_ptr()
        if not address:  # it is empty, or its storage was freed
            return None if tensor.numel() else b""
        if tensor.is_contiguous():
            return _MEMORY[address : address + tensor.nbytes]
        if tensor.nbytes <= PIECE:
            with undispatched():
                return integers(tensor).numpy()
    return None


def feed(tensor: Tensor, update: Callable[[Any], None]) -> None:
    """Call `update` with the bytes of `integers`, little-endian, `PIECE` by `PIECE`, each copied to the host by itself.

    The tensor is one row of values, of any shape and strides, on any device; any other is refused.
    """
    with undispatched():
        row = row_of_values(tensor)
        if row is None:
            raise Unreadable(
                "a tensor is not one row of values",
                f"{_described(tensor)}, {kind_of(tensor)}",
                "Take it apart with components(), and ask for the bits of each part.",
            )
        for part in _slices(row, max(1, PIECE // tensor.element_size())):
            array = integers(part).cpu().numpy()
            update(array.astype(array.dtype.newbyteorder("<"), copy=False))


def row_of_values(tensor: Tensor) -> Tensor | None:
    """Return a strided tensor without what surrounds its values; None for one that has several components.

    To be called, as `readable` and `integers`, where nothing is dispatched.
    """
    known = type(tensor) in _PLAIN_TYPES and _keys(tensor) in _keys_of_rows
    if known and (tensor.data_ptr() or not tensor.numel()):
        return tensor
    tensor = readable(tensor)
    if kind_of(tensor) != "strided":
        return None
    _keys_of_rows.add(_keys(tensor))
    return tensor


def computed_with(tensor: Tensor) -> Tensor:
    """Return what is computed with where a tensor inside `torch.vmap` or `torch.func.grad` is: one for all samples."""
    while _functorch.is_batchedtensor(tensor) or _functorch.is_gradtrackingtensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor


def readable(tensor: Tensor) -> Tensor:
    """Return the tensor without what surrounds its values, or refuse it."""
    while _functorch.is_gradtrackingtensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    if callable(wait := getattr(tensor, "trigger_wait", None)):
        tensor = wait()  # the result of a collective that may still be on its way
    if isinstance(tensor, FakeTensor) or tensor.is_meta or is_lazy(tensor):
        kind = "fake" if isinstance(tensor, FakeTensor) else "meta" if tensor.is_meta else "lazy"
        raise Unreadable(f"a {kind} tensor has no values", _described(tensor), "Pass a tensor that was computed.")
    if torch._is_functional_tensor(tensor) or _functorch.is_functorch_wrapped_tensor(tensor):
        raise Unreadable(
            "a tensor inside a function transform stands for several others, or for none yet",
            f"a tensor inside torch.vmap, torch.func.functionalize or a compiler, {tensor.dtype}",
            "Take what the transformed function returns.",
        )
    is_plain = tensor.layout is torch.strided and not tensor.is_nested and not is_traceable_wrapper_subclass(tensor)
    if is_plain and torch._C._dispatch_keys(tensor).has(torch._C.DispatchKey.Python):
        raise Unreadable(
            f"{type(tensor).__qualname__} does not say where its values are",
            _described(tensor),
            "Give the class __tensor_flatten__ and __tensor_unflatten__, or pass the tensors that it holds.",
            is_hollow=False,
        )
    if is_plain and tensor.numel() and not tensor.untyped_storage().nbytes():
        raise Unreadable(
            "the memory of a tensor was freed", _described(tensor), "Gather it first: FSDP frees sharded parameters."
        )
    return tensor


def kind_of(tensor: Tensor) -> str:
    """Return what a tensor's values lie in: "strided", "sparse_coo", "nested", "wrapper ClassName" and so on."""
    if tensor.is_nested:
        return "nested"
    if is_traceable_wrapper_subclass(tensor):
        return f"wrapper {type(tensor).__qualname__}"
    if tensor.is_quantized:
        return "quantized"
    return str(tensor.layout).removeprefix("torch.").removeprefix("_")


def _described(tensor: Tensor) -> str:
    shape = "" if is_lazy(tensor) or tensor.is_nested else f" of shape {[*tensor.shape]}"
    return f"{type(tensor).__qualname__}{shape}, {tensor.dtype}"


def integers(tensor: Tensor) -> Tensor:
    """Return the bits of a row of values as integers of their size: flat, contiguous, on the tensor's device.

    Conjugated and negated views are resolved, complex numbers are pairs of real ones, bool is uint8. The result shares
    the tensor's memory where that is possible.
    """
    tensor = tensor.detach()
    if getattr(tensor, "has_names", bool)():  # torch < 2.13
        tensor = tensor.rename(None)  # type: ignore[attr-defined]
    if tensor._is_zerotensor():  # it has no memory
        tensor = torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    # As integers before it is copied: not every dtype can be copied.
    tensor = tensor.view(_INTEGERS[tensor.element_size()]).contiguous()
    # The stride of a single element may still be anything.
    return tensor.as_strided((tensor.numel(),), (1,))


def _slices(tensor: Tensor, limit: int) -> Iterator[Tensor]:
    """Yield consecutive parts of at most `limit` elements, without copying."""
    if tensor.numel() <= limit:
        yield tensor
        return
    rows = limit * len(tensor) // tensor.numel()
    for start in range(0, len(tensor), max(1, rows)):
        yield from _slices(tensor[start : start + rows] if rows else tensor[start], limit)


class Components(NamedTuple):
    """The plain tensors that a tensor is made of."""

    kind: str  # that of `kind_of`
    # By name. One of a nested tensor or a wrapper may itself have several components; what else makes the value of a
    # wrapper subclass may be of any type.
    parts: Mapping[str, Any]


def components(tensor: Tensor) -> Components:
    """Take a tensor apart into plain tensors.

    A sparse COO tensor is coalesced first: entries with the same indices are summed, which is what it stands for.
    Indices are int64 whatever they were. A nested tensor is the tensors in it. A `Parameter` is its data. Refused is
    what has no values (fake, meta, freed, batched), and a wrapper that cannot be taken apart.
    """
    with undispatched():
        tensor = readable(tensor)
        kind = kind_of(tensor)
        return Components(kind, _PARTS.get(kind, _of_wrapper)(tensor))


def _of_coo(tensor: Tensor) -> dict[str, Tensor]:
    whole = tensor.detach().coalesce()
    return {"indices": whole.indices(), "values": whole.values()}


def _of_rows(tensor: Tensor) -> dict[str, Tensor]:
    return {"crow": tensor.crow_indices().long(), "col": tensor.col_indices().long(), "values": tensor.values()}


def _of_columns(tensor: Tensor) -> dict[str, Tensor]:
    return {"ccol": tensor.ccol_indices().long(), "row": tensor.row_indices().long(), "values": tensor.values()}


def _of_quantized(tensor: Tensor) -> dict[str, Tensor]:
    def number(value: float, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.full((), value, dtype=dtype, device=tensor.device)

    parts = {"values": tensor.int_repr()}
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        scale, zero_point = number(tensor.q_scale(), torch.float64), number(tensor.q_zero_point())
        return {**parts, "scale": scale, "zero_point": zero_point}
    scales, zero_points = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return {**parts, "scale": scales, "zero_point": zero_points, "axis": number(tensor.q_per_channel_axis())}


def _of_wrapper(tensor: Tensor) -> dict[str, Any]:
    """Take a wrapper subclass apart as it says itself; of a DTensor take what this rank holds."""
    if hasattr(tensor, "_local_tensor") and hasattr(tensor, "placements"):
        return {"local": tensor._local_tensor, "placements": tuple(map(str, tensor.placements))}
    names, context = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return {**{name: getattr(tensor, name) for name in names}, "context": context}


_PARTS: Mapping[str, Callable[[Tensor], dict[str, Any]]] = {
    "strided": lambda tensor: {"values": tensor},
    "mkldnn": lambda tensor: {"values": tensor.to_dense()},
    "sparse_coo": _of_coo,
    "sparse_csr": _of_rows,
    "sparse_bsr": _of_rows,
    "sparse_csc": _of_columns,
    "sparse_bsc": _of_columns,
    "quantized": _of_quantized,
    "nested": lambda tensor: {str(place): part for place, part in enumerate(tensor.unbind())},
}
