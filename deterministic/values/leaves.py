"""What an object says of itself, value by value: which of it moves, and that part put back."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_MOST = 16
"""Entries of a list that are looked at one by one; a longer one, as a generator's state is, is one value."""
_SHARED = (np.ndarray, torch.Tensor, FunctionType, ModuleType, type)


def leaves(value: Any) -> dict[tuple[str, ...], bytes]:
    """Return the values in dicts and lists by path, as bytes; JSON's lists for tuples make no difference."""
    return {path: pickle.dumps(list(leaf) if isinstance(leaf, tuple) else leaf) for path, leaf in _walk(value, ())}


def light_copy(value: Any) -> Any:
    """Return a copy of an object that shares what may be large or bound to a place: arrays, tensors, functions, types.

    Good for asking, not for iterating.

    Raises:
        Exception: It cannot be pickled.
    """
    shared: list[Any] = []

    class Sharing(pickle.Pickler):
        def persistent_id(self, obj: Any) -> int | None:
            if not isinstance(obj, _SHARED):
                return None
            shared.append(obj)
            return len(shared) - 1

    class Finding(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return shared[pid]

    file = io.BytesIO()
    Sharing(file).dump(value)
    file.seek(0)
    return Finding(file).load()


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
