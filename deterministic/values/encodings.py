"""How each kind of value becomes 16 bytes. The list `ENCODERS`, at the end, says which kinds there are.

A value is written as its kind and its parts, each preceded by its length, so that two values of different structure
are never written alike; what is in a container enters as the 16 bytes of its own.
"""

from __future__ import annotations

import argparse
import enum
import functools
import pathlib
import random
import struct
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from xxhash import xxh3_128, xxh3_128_digest

from . import bits
from .components import components

if TYPE_CHECKING:
    from .fingerprint import Walk

Encoder = Callable[["Walk", Any], bytes]

_ARRAYS = {np.ndarray, np.memmap, np.recarray, np.matrix}
"""Other subclasses may hold more than their values: a mask, a unit."""

_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type)


def seal(kind: str, *parts: bytes) -> bytes:
    """Return the 16 bytes of a value of this kind that has these parts."""
    return xxh3_128_digest(b"".join([len(part).to_bytes(8, "little") + part for part in (kind.encode(), *parts)]))


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _integer(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _integers(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


# ---- tensors


@functools.cache
def _name(dtype: torch.dtype) -> bytes:
    return _text(str(dtype))


def _tensor(walk: Walk, tensor: Tensor) -> bytes:
    memory = bits.memory(tensor)
    if memory is None:
        return _any_tensor(walk, tensor)
    layout = [_layout(tensor, "strided")] if walk.layout else []
    return seal("tensor", _name(tensor.dtype), _integers(tensor.shape), xxh3_128_digest(memory), *layout)


def _any_tensor(walk: Walk, tensor: Tensor) -> bytes:
    """Return the 16 bytes of a tensor that is not plain memory of the host."""
    with bits.undispatched():
        kind, parts, facts, coalesced = components(tensor)
        layout = [_layout(tensor, kind, coalesced)] if walk.layout else []
        if kind in ("strided", "mkldnn"):
            hashing = xxh3_128()
            bits.feed(parts["values"], hashing.update)
            return seal("tensor", _name(tensor.dtype), _integers(tensor.shape), hashing.digest(), *layout)
        # The shape of a nested tensor is that of its parts.
        shape = b"" if kind == "nested" else _integers(tensor.shape)
        inside = _named(walk, "attribute", {**parts, **facts})
        return seal(f"{kind} tensor", _name(tensor.dtype), shape, seal("parts", *inside), *layout)


def _layout(tensor: Tensor, kind: str, coalesced: bool | None = None) -> bytes:
    """Return the 16 bytes of how the values lie in memory."""
    places, views = [], b""
    if kind == "strided":
        places = [int(number) for number in (*tensor.stride(), tensor.storage_offset())]
        views = bytes([tensor.is_conj(), tensor.is_neg()])
    return seal("layout", _text(str(tensor.layout)), _integers(places), views, _text(str(coalesced)))


# ---- numpy


def _array(walk: Walk, array: Any, kind: str = "array") -> bytes:
    if type(array) not in _ARRAYS:
        walk.refuse(array)
    array = np.asarray(array)
    layout = [_integers(array.strides)] if walk.layout else []
    return seal(kind, *_dtype_and_values(walk, array), _integers(array.shape), *layout)


def _dtype_and_values(walk: Walk, array: Any) -> tuple[bytes, bytes]:
    dtype = array.dtype
    if dtype.names is not None:  # field by field: there may be gaps between them
        return b"fields", seal("fields", *_named(walk, "item", {name: array[name] for name in dtype.names}))
    if dtype.kind in "OT":
        elements = (walk.inside("item", index, element) for index, element in np.ndenumerate(array))
        return b"objects" if dtype.kind == "O" else b"strings", seal("elements", *elements)
    dtype = dtype.newbyteorder("<")
    # What is not numpy's own (bfloat16 of ml_dtypes) has a name, and no letter.
    name = dtype.name if dtype.kind == "V" else dtype.str
    return _text(name), xxh3_128_digest(_bytes_of(array.astype(dtype, copy=False)))


def _bytes_of(array: Any) -> Any:
    if not array.nbytes:
        return b""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if array.dtype.char in "gG" and np.finfo(array.dtype).nmant == 63:  # 10 bytes in 12 or 16, the others anything
        return np.ascontiguousarray(flat.reshape(-1, np.dtype(np.longdouble).itemsize)[:, :10])
    return flat


def _scalar(walk: Walk, scalar: Any) -> bytes:
    return _array(walk, np.asarray(scalar), "scalar")


# ---- containers and objects


def _named(walk: Walk, step: str, values: Mapping[str, Any]) -> Iterable[bytes]:
    """Yield names, sorted, and the 16 bytes of what has the name."""
    for name in sorted(values):
        yield _text(name)
        yield walk.inside(step, name, values[name])


def _mapping(walk: Walk, mapping: Mapping[Any, Any]) -> bytes:
    pairs = [(walk.inside("key", key, key), walk.inside("item", key, value)) for key, value in mapping.items()]
    return seal("dict", *[part for pair in sorted(pairs) for part in pair])


def _set(walk: Walk, elements: Iterable[Any]) -> bytes:
    return seal("set", *sorted(walk.inside("key", element, element) for element in elements))


def _sequence(walk: Walk, sequence: Iterable[Any]) -> bytes:
    kind = next(base for base in (list, tuple, deque) if isinstance(sequence, base)).__name__
    return seal(kind, *[walk.inside("item", place, element) for place, element in enumerate(sequence)])


def _tuple(walk: Walk, values: tuple[Any, ...]) -> bytes:
    names = getattr(type(values), "_fields", None)
    if names is None:
        return _sequence(walk, values)
    return seal("object", _class(values), *_named(walk, "attribute", dict(zip(names, values, strict=True))))


def _class(value: object) -> bytes:
    return _text(type(value).__qualname__)


def _dataclass(walk: Walk, value: Any) -> bytes:
    own = [encode(walk, value) for encode in encoders_for(type(value))[1:2]]  # as the dict or list that it is, too
    return seal("object", _class(value), *own, *_named(walk, "attribute", fields_of(value)))


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass; where it is a mapping, too, without those that are its entries."""
    held = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: held[name] for name in held if not isinstance(value, Mapping) or value.get(name) is not held[name]}


def _namespace(walk: Walk, value: Any) -> bytes:
    return seal("object", _class(value), *_named(walk, "attribute", vars(value)))


def _enum(walk: Walk, member: enum.Enum) -> bytes:
    # What the name of a combination of flags is depends on the version of Python.
    name = "" if isinstance(member, enum.Flag) else member.name
    return seal("enum", _class(member), _text(name), walk.inside("attribute", "value", member.value))


def _partial(walk: Walk, value: functools.partial[Any]) -> bytes:
    name = f"{getattr(value.func, '__module__', '')}.{getattr(value.func, '__qualname__', '')}"
    owner = value.func.__self__ if isinstance(value.func, types.BuiltinFunctionType) else None
    if not isinstance(owner, (type(None), type, types.ModuleType)):  # a method, bound to a value
        function = seal("method", _text(name), walk.inside("attribute", "func.__self__", owner))
    elif isinstance(value.func, _FUNCTIONS) and "<" not in name:  # the name of a lambda says nothing
        function = seal("function", _text(name))
    else:
        function = walk.inside("attribute", "func", value.func)
    arguments = walk.inside("attribute", "args", value.args), walk.inside("attribute", "keywords", value.keywords)
    return seal("partial", function, *arguments)


def _module(walk: Walk, module: torch.nn.Module) -> bytes:
    with bits.undispatched():
        state = module.state_dict()
    buffers = dict(module.named_buffers(remove_duplicate=False))  # also those that are not saved
    return _mapping(walk, {**buffers, **state})


def _stateful(walk: Walk, value: Any) -> bytes:
    with bits.undispatched():
        state = value.state_dict()
    return walk.inside("call", "state_dict", state)


# ---- generators


def _python_generator(walk: Walk, generator: random.Random) -> bytes:
    try:
        state = generator.getstate()
    except NotImplementedError:  # SystemRandom has none
        walk.refuse(generator)
    return seal("random.Random", walk.inside("call", "getstate", state))


def _numpy_generator(walk: Walk, generator: Any) -> bytes:
    if isinstance(generator, np.random.RandomState):
        return seal("RandomState", walk.inside("call", "get_state", generator.get_state(legacy=False)))
    kind = "BitGenerator" if isinstance(generator, np.random.BitGenerator) else "Generator"
    return seal(kind, walk.inside("attribute", "state", getattr(generator, "bit_generator", generator).state))


def _torch_generator(walk: Walk, generator: torch.Generator) -> bytes:
    with bits.undispatched():
        state = generator.get_state()
    return seal("torch.Generator", _text(generator.device.type), walk.inside("call", "get_state", state))


# ---- what is nothing but itself


def _plain(kind: str, write: Callable[[Any], bytes]) -> Encoder:
    return lambda walk, value: seal(kind, write(value))


def _of_attributes(kind: str, *names: str) -> Encoder:
    return lambda walk, value: seal(kind, *[walk.inside("attribute", name, getattr(value, name)) for name in names])


def has_state(kind: type) -> bool:
    """Return whether values of a type say themselves what their state is."""
    return callable(getattr(kind, "state_dict", None))


ENCODERS: tuple[tuple[type | tuple[type, ...] | Callable[[type], bool], Encoder], ...] = (
    (Tensor, _tensor),
    (np.ndarray, _array),
    (np.generic, _scalar),
    (enum.Enum, _enum),
    (torch.nn.Module, _module),
    (has_state, _stateful),
    (is_dataclass, _dataclass),
    (type(None), _plain("None", lambda _: b"")),
    (type(...), _plain("...", lambda _: b"")),
    (bool, _plain("bool", lambda value: bytes([value]))),
    (int, _plain("int", _integer)),
    (float, _plain("float", struct.Struct("<d").pack)),
    (complex, _plain("complex", lambda value: struct.pack("<2d", value.real, value.imag))),
    (str, _plain("str", _text)),
    ((bytes, bytearray), _plain("bytes", bytes)),
    (torch.Size, _plain("torch.Size", _integers)),
    (tuple, _tuple),
    ((list, deque), _sequence),
    (Mapping, _mapping),
    ((set, frozenset), _set),
    (range, _of_attributes("range", "start", "stop", "step")),
    (slice, _of_attributes("slice", "start", "stop", "step")),
    (pathlib.PurePath, _plain("path", lambda value: _text(value.as_posix()))),
    (functools.partial, _partial),
    ((types.SimpleNamespace, argparse.Namespace), _namespace),
    (torch.device, _plain("torch.device", lambda value: _text(str(value)))),
    (torch.dtype, _plain("torch.dtype", _name)),
    ((torch.layout, torch.memory_format, torch.qscheme), _plain("torch.layout", lambda value: _text(str(value)))),
    (np.dtype, _plain("numpy.dtype", lambda value: _text(str(value.newbyteorder("<"))))),
    (random.Random, _python_generator),
    ((np.random.Generator, np.random.RandomState, np.random.BitGenerator), _numpy_generator),
    (torch.Generator, _torch_generator),
)
"""A value is of the first kind that its type is, or that says yes to its type: what it is comes before its fields."""


def _encoders_for(kind: type) -> Sequence[Encoder]:
    """Return what could write values of a type, of which the first does; none: they have no fingerprint."""
    return [
        encoder for one, encoder in ENCODERS if (issubclass(kind, one) if isinstance(one, (type, tuple)) else one(kind))
    ]


encoders_for: Callable[[type], Sequence[Encoder]] = functools.lru_cache(maxsize=1024)(_encoders_for)
