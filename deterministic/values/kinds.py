"""What a value is made of: the list `KINDS`, at the end, says which kinds there are, and what takes each apart."""

from __future__ import annotations

import argparse
import enum
import functools
import pathlib
import random
import struct
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from xxhash import xxh3_128, xxh3_128_digest

from . import bits


class Child(NamedTuple):
    """A value that another one holds."""

    step: str  # how one gets there: "item", "attribute", "call" (of a method), or "key" for the key itself
    key: Any  # the index, the key, or the name
    value: Any


class Node(NamedTuple):
    """A value taken apart."""

    kind: str
    parts: Iterable[bytes | Child | Node]  # what makes it up
    # How many parts belong together, where the order of such groups does not count; 0: every place counts.
    group: int = 0


Taker = Callable[[Any], "Node | Child"]

_ARRAYS = {np.ndarray, np.memmap, np.recarray, np.matrix}
"""Other subclasses may hold more than their values: a mask, a unit."""


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _integer(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _integers(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


@functools.cache
def _name(dtype: torch.dtype) -> bytes:
    return _text(str(dtype))


def _tensor(tensor: Tensor) -> Node:
    memory = bits.memory(tensor)
    if memory is not None:
        return node_of(tensor, xxh3_128_digest(memory))
    with bits.undispatched():
        kind, parts = bits.components(tensor)
        # The shape of a nested tensor is that of its parts.
        described = _name(tensor.dtype), b"" if kind == "nested" else _integers(tensor.shape)
        if kind not in ("strided", "mkldnn"):
            return Node(f"{kind} tensor", (*described, Node("parts", _named("attribute", parts))))
        hashing = xxh3_128()
        bits.feed(parts["values"], hashing.update)
        return Node("tensor", (*described, hashing.digest()))


def node_of(tensor: Tensor, digest: bytes) -> Node:
    """Return what a tensor that is one row of values is made of, given the digest of their bytes."""
    return Node("tensor", (_name(tensor.dtype), _integers(tensor.shape), digest))


def _array(array: Any, kind: str = "array") -> Node:
    array = np.asarray(array)
    return Node(kind, (*_dtype_and_values(array), _integers(array.shape)))


def _dtype_and_values(array: Any) -> tuple[bytes, bytes | Node]:
    dtype = array.dtype
    if dtype.names is not None:  # field by field: there may be gaps between them
        return b"fields", Node("fields", _named("item", {name: array[name] for name in dtype.names}))
    if dtype.kind in "OT":
        elements = (Child("item", index, element) for index, element in np.ndenumerate(array))
        return b"objects" if dtype.kind == "O" else b"strings", Node("elements", elements)
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


def layout_of(value: Any) -> list[bytes | Node]:
    """Return what more a tensor or an array is, where it counts how its values lie in memory; nothing of others."""
    if isinstance(value, (np.ndarray, np.generic)):
        return [_integers(np.asarray(value).strides)]
    if not isinstance(value, Tensor):
        return []
    with bits.undispatched():
        kind, places, views = bits.kind_of(bits.readable(value)), [], b""
        if kind == "strided":
            places = [int(number) for number in (*value.stride(), value.storage_offset())]
            views = bytes([value.is_conj(), value.is_neg()])
        coalesced = value.is_coalesced() if kind == "sparse_coo" else None
        return [Node("layout", (_text(str(value.layout)), _integers(places), views, _text(str(coalesced))))]


def _named(step: str, values: Mapping[str, Any]) -> Iterator[bytes | Child]:
    """Yield names, sorted, and what has the name."""
    for name in sorted(values):
        yield _text(name)
        yield Child(step, name, values[name])


def _mapping(mapping: Mapping[Any, Any]) -> Node:
    pairs = ((Child("key", key, key), Child("item", key, value)) for key, value in mapping.items())
    return Node("dict", (part for pair in pairs for part in pair), 2)


def _sequence(sequence: Iterable[Any]) -> Node:
    kind = next(base for base in (list, tuple, deque) if isinstance(sequence, base)).__name__
    return Node(kind, (Child("item", place, element) for place, element in enumerate(sequence)))


def _tuple(values: tuple[Any, ...]) -> Node:
    names = getattr(type(values), "_fields", None)
    return _sequence(values) if names is None else _object(values, dict(zip(names, values, strict=True)))


def _object(value: object, attributes: Mapping[str, Any], *own: Node | Child) -> Node:
    return Node("object", (_text(type(value).__qualname__), *own, *_named("attribute", attributes)))


def _dataclass(value: Any) -> Node:
    own = [take(value) for take in takers(type(value))[1:2] if take]  # as the dict or list that it is, too
    return _object(value, fields_of(value), *own)


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass; where it is a mapping, too, without those that are its entries."""
    held = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: held[name] for name in held if not isinstance(value, Mapping) or value.get(name) is not held[name]}


def _enum(member: enum.Enum) -> Node:
    # What the name of a combination of flags is depends on the version of Python.
    name = "" if isinstance(member, enum.Flag) else member.name
    return Node("enum", (_text(type(member).__qualname__), _text(name), Child("attribute", "value", member.value)))


def _partial(value: functools.partial[Any]) -> Node:
    function = value.func
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    owner = function.__self__ if isinstance(function, types.BuiltinFunctionType) else None
    is_named = isinstance(function, (types.FunctionType, types.BuiltinFunctionType, type)) and "<" not in name
    part: Node | Child = Child("attribute", "func", function)
    if not isinstance(owner, (type(None), type, types.ModuleType)):  # a method, bound to a value
        part = Node("method", (_text(name), Child("attribute", "func.__self__", owner)))
    elif is_named:  # as a lambda is not
        part = Node("function", (_text(name),))
    return Node(
        "partial", (part, Child("attribute", "args", value.args), Child("attribute", "keywords", value.keywords))
    )


def _state_dict(value: Any) -> Any:
    with bits.undispatched():
        return value.state_dict()


def _module(module: torch.nn.Module) -> Node:
    buffers = dict(module.named_buffers(remove_duplicate=False))  # also those that are not saved
    return _mapping({**buffers, **_state_dict(module)})


def _numpy_generator(generator: Any) -> Node:
    if isinstance(generator, np.random.RandomState):
        return Node("RandomState", [Child("call", "get_state", generator.get_state(legacy=False))])
    kind = "BitGenerator" if isinstance(generator, np.random.BitGenerator) else "Generator"
    return Node(kind, [Child("attribute", "state", getattr(generator, "bit_generator", generator).state)])


def _torch_generator(generator: torch.Generator) -> Node:
    with bits.undispatched():
        state = generator.get_state()
    return Node("torch.Generator", (_text(generator.device.type), Child("call", "get_state", state)))


def _plain(kind: str, write: Callable[[Any], bytes]) -> Taker:
    """Return the taker of a kind that is nothing but itself."""
    return lambda value: Node(kind, (write(value),))


def _range(value: range | slice) -> Node:
    names = ("start", "stop", "step")
    return Node(type(value).__name__, [Child("attribute", name, getattr(value, name)) for name in names])


def has_state(kind: type) -> bool:
    """Return whether values of a type say themselves what their state is."""
    return callable(getattr(kind, "state_dict", None))


KINDS: tuple[tuple[type | tuple[type, ...] | Callable[[type], bool], Taker | None], ...] = (
    (Tensor, _tensor),
    (_ARRAYS.__contains__, _array),
    ((np.ndarray, random.SystemRandom), None),
    (np.generic, lambda value: _array(value, "scalar")),
    (enum.Enum, _enum),
    (torch.nn.Module, _module),
    (has_state, lambda value: Child("call", "state_dict", _state_dict(value))),
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
    ((set, frozenset), lambda value: Node("set", (Child("key", element, element) for element in value), 1)),
    ((range, slice), _range),
    (pathlib.PurePath, _plain("path", lambda value: _text(value.as_posix()))),
    (functools.partial, _partial),
    ((types.SimpleNamespace, argparse.Namespace), lambda value: _object(value, vars(value))),
    (torch.device, _plain("torch.device", lambda value: _text(str(value)))),
    (torch.dtype, _plain("torch.dtype", _name)),
    ((torch.layout, torch.memory_format, torch.qscheme), _plain("torch.layout", lambda value: _text(str(value)))),
    (np.dtype, _plain("numpy.dtype", lambda value: _text(str(value.newbyteorder("<"))))),
    (random.Random, lambda value: Node("random.Random", [Child("call", "getstate", value.getstate())])),
    ((np.random.Generator, np.random.RandomState, np.random.BitGenerator), _numpy_generator),
    (torch.Generator, _torch_generator),
)
"""A value is of the first kind that its type is, or that says yes to its type: what it is comes before its fields."""


def _takers(kind: type) -> Sequence[Taker | None]:
    """Return what takes values of a type apart, and what else could; first, or alone, is None if nothing can."""
    takes = [take for one, take in KINDS if (issubclass(kind, one) if isinstance(one, (type, tuple)) else one(kind))]
    return takes or [None]


takers: Callable[[type], Sequence[Taker | None]] = functools.lru_cache(maxsize=1024)(_takers)
