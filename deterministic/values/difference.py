"""`difference`: the first place at which two values are not the same."""

from __future__ import annotations

import copyreg
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from ..errors import DeterministicError, clipped
from .fingerprint import fingerprint_if_any

_Differs: TypeAlias = tuple[str, str, str]

_Met: TypeAlias = dict[tuple[int, int], tuple[Any, Any]]
"""The pairs that were come upon before, by id, and kept, lest another gets it: what contains itself ends there."""


def difference(one: Any, other: Any, field: str) -> _Differs | None:
    """Return the first field in which two values differ, and both values, shortened; None if in none.

    Two values are the same if their fingerprints are; what has none is compared by what it holds, or as it says itself.
    """
    try:
        return _difference(one, other, field, {})
    except RecursionError:
        raise _incomparable(one, field, "it is nested too deep") from None


def _difference(one: Any, other: Any, field: str, met: _Met) -> _Differs | None:
    if type(one) is not type(other):
        return f"{field} (type)", type(one).__name__, type(other).__name__
    if one is other or (id(one), id(other)) in met:
        return None
    digest, again = fingerprint_if_any(one), fingerprint_if_any(other)
    is_same, is_known = digest == again is not None, None not in (digest, again)
    if is_same and not hasattr(one, "state_dict"):  # the one of a TensorDict leaves out what is no tensor
        return None
    met[id(one), id(other)] = one, other
    whole = (field, _short(one), _short(other)) if is_known and not is_same else None
    pairs = _pairs(one, other, field)
    if pairs is None:
        return whole if is_known else _by_itself(one, other, field, met)
    return next(filter(None, (_difference(*pair, met) for pair in pairs)), whole)


def _pairs(one: Any, other: Any, field: str) -> list[tuple[Any, Any, str]] | None:
    """Return what two containers hold, pair by pair, and what it is called; None of what is no container."""
    if isinstance(one, np.ndarray) and one.dtype.hasobject:
        one, other = [*one.shape, one.tolist()], [*other.shape, other.tolist()]
    inside = f"{field} ({type(one).__name__})"
    pairs: list[tuple[Any, Any, str]] = []
    if isinstance(one, Mapping):
        keys = set(one.keys()), set(other.keys())  # a TensorDict iterates over something else
        pairs = [(*keys, f"{field} (keys)")]
        names = one.keys() if keys[0] == keys[1] else ()
        pairs += [(one[name], other[name], f"{field}[{name!r}]") for name in names]
    elif isinstance(one, (Sequence, deque)) and not isinstance(one, (str, bytes, bytearray)):
        pairs = [(len(one), len(other), f"{field} (length)")]
        pairs += [(*pair, f"{field}[{place}]") for place, pair in enumerate(zip(one, other, strict=False))]
    if is_dataclass(one):
        pairs += [(getattr(one, part.name), getattr(other, part.name), f"{inside}.{part.name}") for part in fields(one)]
    return pairs or ([(vars(one), vars(other), inside)] if type(one) is SimpleNamespace else None)


def _by_itself(one: Any, other: Any, field: str, met: _Met) -> _Differs | None:
    """Compare what has no fingerprint and is no container: as it says itself, else by what pickle would keep of it.

    That two are equal is taken from them; that they are not may only mean that they are two.
    """
    kind: Any = type(one)
    if kind.__eq__ is not object.__eq__ and not isinstance(one, np.ndarray):  # a masked one is more than its values
        with suppress(Exception):
            if bool(one == other):
                return None
    try:
        parts = _pickled(one), _pickled(other)
    except Exception as error:
        raise _incomparable(one, field, str(error)) from error
    differs = _difference(*parts, f"{field} ({kind.__name__})", met)
    return differs if differs is None or isinstance(parts[0], dict) else (field, _short(one), _short(other))


def _pickled(value: Any) -> Any:
    """Return what makes up an object: its attributes, or what else it is made from again."""
    if isinstance(value, (set, frozenset)):
        raise TypeError("its elements have no order in which they could be compared one by one")
    reduce = copyreg.dispatch_table.get(type(value))
    reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
    if isinstance(reduced, str):
        return reduced
    function, arguments, state, *more = (*reduced, None)[:5]
    attributes = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # of __dict__, and of __slots__
    is_plain = function is copyreg.__newobj__ and len(arguments) == 1 and not any(more)  # type: ignore[attr-defined]
    if is_plain and all(part is None or isinstance(part, dict) for part in attributes):
        return {name: item for part in attributes for name, item in (part or {}).items()}
    return [function, arguments, state, *(None if part is None else list(part) for part in more)]


def _incomparable(value: object, field: str, why: str) -> DeterministicError:
    return DeterministicError(
        f"{field} cannot be compared, so nobody can say whether it is the same",
        (f"found: {type(value).__module__}.{type(value).__qualname__}", f"comparing it: {why}"),
        "Give the type an __eq__ that returns a bool, or return tensors, arrays, numbers and strings.",
    )


def _short(value: Any) -> str:
    return clipped(" ".join(repr(value).split()))
