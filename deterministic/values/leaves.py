"""What an object says of itself, value by value: which of it moves, and that part put back; and batches in outline."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_MOST = 16  # entries of a list that are leaves by themselves; a longer one, as a generator's state is, is one value
_ELEMENTS, _ENTRIES = 64, 8
"""How many elements of a tensor, or pairs of a dict, and entries of a list an outline has."""
_SHARED = (np.ndarray, torch.Tensor, FunctionType, ModuleType, type)


def leaves(value: Any) -> dict[tuple[str, ...], bytes]:
    """Return the values in dicts and lists by path, as bytes; JSON's lists for tuples make no difference."""
    return {path: pickle.dumps(list(leaf) if isinstance(leaf, tuple) else leaf) for path, leaf in _walk(value, ())}


def light_copy(value: Any) -> Any:
    """Return a copy of an object that shares what may be large or bound to a place: arrays, tensors, functions, types.

    Good for asking, not for iterating.
    """
    shared: dict[int, Any] = {}

    class Sharing(pickle.Pickler):
        def persistent_id(self, obj: Any) -> int | None:
            return id(shared.setdefault(id(obj), obj)) if isinstance(obj, _SHARED) else None

    class Finding(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return shared[pid]

    file = io.BytesIO()
    Sharing(file).dump(value)
    return Finding(io.BytesIO(file.getvalue())).load()


def long_ones(value: Any) -> set[tuple[str, ...]]:
    """Return the paths of the long lists among them, which say no place."""
    return {path for path, leaf in _walk(value, ()) if isinstance(leaf, (list, tuple)) and len(leaf) > _MOST}


def merged(value: Any, other: Any, paths: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> Any:
    """Return a value with what `other` has at these paths."""
    if path in paths:
        return other
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: merged(one, other.get(key, one), paths, (*path, str(key))) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)) and len(value) == len(other) <= _MOST:
        pairs = enumerate(zip(value, other, strict=True))
        return type(value)(merged(*pair, paths, (*path, str(place))) for place, pair in pairs)
    return value


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _walk(one, (*path, str(key)))
    elif isinstance(value, (list, tuple)) and len(value) <= _MOST:
        for place, one in enumerate(value):
            yield from _walk(one, (*path, str(place)))
    else:
        yield path, value


def outline(value: Any, depth: int = 4) -> bytes:
    """Return bytes of a batch's values, which are others when it is another, as a rule: enough to tell orders apart.

    They are of all of small values, of large ones of a part that is spread over them: it takes some 10 us, whatever the
    size. A value of a kind that is not known says its type only.
    """
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_nested or value.is_quantized:
            return str(value.dtype).encode()
        flat = value.detach().reshape(-1)
        part = flat[:: len(flat) // _ELEMENTS + 1].cpu().contiguous()
        return f"{value.dtype}{tuple(value.shape)}".encode() + part.view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject and value.dtype.names is None:
        row = value.reshape(-1)
        return b"%s%s" % (repr((value.dtype.str, value.shape)).encode(), row[:: len(row) // _ELEMENTS + 1].tobytes())
    if isinstance(value, (str, bytes)):
        data = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        return b"%d:%s%s" % (len(data), data[:_ELEMENTS], data[-_ELEMENTS:])
    if value is None or isinstance(value, (bool, int, float, complex, np.generic)):
        return repr(value).encode()[:_ELEMENTS]
    inside: list[Any] = []
    if depth and isinstance(value, Mapping):
        inside = [part for pair in list(value.items())[:_ELEMENTS] for part in pair]
    elif depth and isinstance(value, (list, tuple)):
        inside = list(value[:: len(value) // _ENTRIES + 1])
    parts = [outline(one, depth - 1) for one in inside]
    return b"%s%d(%s)" % (type(value).__name__.encode(), len(inside), b",".join(parts))
