"""The numbers and generators that an object shows: what may tell one pass over it from the next."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from ...sources.own_generators import KINDS, OwnGenerator

_DEPTH = 5
_WIDTH = 100
"""How many entries of a container are looked at: those that count passes are few."""

_OPAQUE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, torch.Tensor, np.ndarray)


def shown(value: Any, *, generators: bool = True) -> dict[str, Any]:
    """Return the numbers in an object's attributes, and a digest of each generator's state, by path."""
    return dict(_numbers_in(value, "", _DEPTH, set(), generators))


def _numbers_in(value: Any, path: str, depth: int, visited: set[int], generators: bool) -> Iterator[tuple[str, Any]]:
    if type(value) in (int, float):
        yield path, value
    if depth < 0 or id(value) in visited or isinstance(value, _OPAQUE):
        return
    visited.add(id(value))
    inside: Iterable[tuple[str, Any]] = ()
    if isinstance(value, KINDS) and not isinstance(value, random.SystemRandom):
        if generators:
            source = OwnGenerator(value, 0)
            yield path, source.describe(source.capture())["digest"]
    elif isinstance(value, (list, tuple)):
        inside = [(f"[{place}]", one) for place, one in enumerate(value[:_WIDTH])]
    elif isinstance(value, dict):
        inside = [(f"[{key!r}]", one) for key, one in list(value.items())[:_WIDTH] if type(key) in (str, int)]
    elif hasattr(value, "__dict__"):
        inside = [(f".{name}", one) for name, one in vars(value).items()]
    for name, one in inside:
        yield from _numbers_in(one, path + name, depth - 1, visited, generators)
