"""`loader.check()`: are a few samples the same when they are made again, in another order?"""

from __future__ import annotations

import copyreg
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from ..errors import DeterministicError, NotReproducibleError, cut, explain
from ..values.fingerprint import fingerprint
from .samples.fetch import Fetch, KeyedDataset
from .samples.isolation import Isolated

_Met: TypeAlias = dict[tuple[int, int], tuple[Any, Any]]
"""The pairs that were come upon before, by id, and kept, lest another gets it: what contains itself ends there."""


def check_samples(keyed: KeyedDataset, places: list[tuple[Fetch, int]], threads: int) -> None:
    """Make the samples at these places twice, the second time from the last to the first, and compare them.

    Raises:
        NotReproducibleError: One differs.
        DeterministicError: One cannot be compared.
    """

    def make(fetch: Fetch, place: int) -> Any:
        with Isolated(threads):
            return keyed.one(fetch, place)

    first = [make(*one) for one in places]
    for (fetch, place), before in reversed(list(zip(places, first, strict=True))):
        _require_same(before, make(fetch, place), "sample", f"index {cut(fetch.indices[place])}", "it is fetched again")


def check_batches(make: Callable[[], list[Any]]) -> None:
    """Make the first batches of a stream twice, and compare them; raise what `check_samples` raises."""
    first, again = make(), make()
    for number, (before, after) in enumerate(zip(first, again, strict=False)):
        _require_same(before, after, "batch", f"batch {number} of the stream", "it is iterated again")
    _require_same(len(first), len(again), "number of batches", "the stream", "it is iterated again")


def _require_same(before: Any, after: Any, name: str, what: str, when: str) -> None:
    found = difference(before, after, name)
    if found is not None:
        field, one, other = found
        raise NotReproducibleError(
            explain(
                f"{what} gives another {field} when {when}",
                (f"first: {one}", f"again: {other}"),
                "Something in the dataset keeps a generator, a counter or the time between samples: draw from "
                "random, numpy.random, torch or deterministic.sample_rng() instead.",
            )
        )


def difference(one: Any, other: Any, field: str) -> tuple[str, str, str] | None:
    """Return the first field in which two values differ, and both values, shortened; None if in none.

    Two values are the same if their fingerprints are; what has none is compared by what it holds, or as it says itself.

    Raises:
        DeterministicError: A field is of a type that cannot be compared.
    """
    try:
        return _difference(one, other, field, {})
    except RecursionError:
        raise _untold(one, field, "it is nested too deep") from None


def _difference(one: Any, other: Any, field: str, met: _Met) -> tuple[str, str, str] | None:
    if type(one) is not type(other):
        return f"{field} (type)", type(one).__name__, type(other).__name__
    if one is other or (id(one), id(other)) in met:
        return None
    told, is_same = None, False
    with suppress(TypeError, ValueError):  # something in it has no fingerprint, or contains itself
        is_same = fingerprint(one) == fingerprint(other)
        told = None if is_same else (field, _short(one), _short(other))
    if is_same and not hasattr(one, "state_dict"):  # the one of a TensorDict leaves out what is no tensor
        return None
    met[id(one), id(other)] = one, other
    held = _held(one, other, field)
    if held is None:
        return None if is_same else told or _by_itself(one, other, field, met)
    return next(filter(None, (_difference(*pair, met) for pair in held)), told)


def _held(one: Any, other: Any, field: str) -> list[tuple[Any, Any, str]] | None:
    """Return what two containers hold, pair by pair, and what it is called; None of what is no container."""
    if isinstance(one, np.ndarray) and one.dtype.hasobject:
        one, other = [*one.shape, one.tolist()], [*other.shape, other.tolist()]
    inside = f"{field} ({type(one).__name__})"
    pairs = []
    if isinstance(one, Mapping):
        keys = set(one.keys()), set(other.keys())  # a TensorDict iterates over something else
        names = one.keys() if keys[0] == keys[1] else ()
        pairs = [(*keys, f"{field} (keys)"), *((one[name], other[name], f"{field}[{name!r}]") for name in names)]
    elif isinstance(one, (Sequence, deque)) and not isinstance(one, (str, bytes, bytearray)):
        pairs = [(len(one), len(other), f"{field} (length)")]
        pairs += [(a, b, f"{field}[{place}]") for place, (a, b) in enumerate(zip(one, other, strict=False))]
    if is_dataclass(one):
        pairs += [(getattr(one, part.name), getattr(other, part.name), f"{inside}.{part.name}") for part in fields(one)]
    return pairs or ([(vars(one), vars(other), inside)] if type(one) is SimpleNamespace else None)


def _by_itself(one: Any, other: Any, field: str, met: _Met) -> tuple[str, str, str] | None:
    """Compare what has no fingerprint and is no container: as it says itself, else by what pickle would keep of it.

    That two are equal is taken from them; that they are not may only mean that they are two.
    """
    kind: Any = type(one)
    if kind.__eq__ is not object.__eq__ and not isinstance(one, np.ndarray):  # a masked one is more than its values
        with suppress(Exception):
            if bool(one == other):
                return None
    try:
        parts = _parts(one), _parts(other)
    except Exception as error:
        raise _untold(one, field, str(error)) from error
    found = _difference(*parts, f"{field} ({kind.__name__})", met)
    return found if found is None or isinstance(parts[0], dict) else (field, _short(one), _short(other))


def _parts(value: Any) -> Any:
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


def _untold(value: object, field: str, why: str) -> DeterministicError:
    return DeterministicError(
        explain(
            f"{field} cannot be compared, so whether it is the same cannot be told",
            (f"found: {type(value).__module__}.{type(value).__qualname__}", f"comparing it: {why}"),
            "Give the type an __eq__ that returns a bool, or return tensors, arrays, numbers and strings.",
        )
    )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
