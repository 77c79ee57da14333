"""`loader.check()`: are a few samples the same when they are made again, in another order?"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._seeds import as_integer
from ..errors import DeterministicError, NotReproducibleError, cut, explain
from ..trace.fingerprint import fingerprint
from .fetch import Fetch, KeyedDataset
from .isolation import Isolated
from .orders import AnyOrder, require_indices

if TYPE_CHECKING:
    from .keyed_loader import ReproducibleDataLoader
    from .position import Position


def check_samples(loader: ReproducibleDataLoader[Any], order: AnyOrder, position: Position, samples: int) -> None:
    """Make the first samples from `position` on twice, the second time from the last to the first, and compare them.

    Raises:
        NotReproducibleError: One differs.
        DeterministicError: One cannot be compared.
        TypeError: The dataset has no indices.
        ValueError: `samples` is no number of at least 1.
    """
    order = require_indices(
        order,
        loader.dataset,
        problem="a stream cannot be asked for its samples in another order",
        instead="Compare two passes over one epoch of it: set_epoch(0) before each.",
    )
    count = as_integer(samples)
    if count is None or count < 1:
        raise ValueError(
            explain(
                "samples is no number of samples",
                (f"found: {cut(samples)}", "expected: an int, 1 or more"),
                "Check at least one sample, for example check(8).",
            )
        )
    keyed = KeyedDataset(loader.dataset, loader.keying.randomness, loader.seed)
    fetches = order.look(position, count)
    wanted = [(fetch, place) for fetch in fetches for place in range(len(fetch.indices))][:count]

    def make(fetch: Fetch, place: int) -> Any:
        with keyed.epoch.kept(), Isolated(loader.keying.worker_threads):
            return keyed.one(fetch, place)

    first = [make(*one) for one in wanted]
    for (fetch, place), before in reversed(list(zip(wanted, first, strict=True))):
        found = difference(before, make(fetch, place), "sample")
        if found is not None:
            field, one, other = found
            raise NotReproducibleError(
                explain(
                    f"index {cut(fetch.indices[place])} gives another {field} when it is fetched again",
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
        return _difference(one, other, field)
    except (RecursionError, ValueError):
        raise _untold(one, field, "it contains itself, or is nested too deep") from None


def _difference(one: Any, other: Any, field: str) -> tuple[str, str, str] | None:
    if type(one) is not type(other):
        return f"{field} (type)", type(one).__name__, type(other).__name__
    told = None
    with suppress(TypeError):  # something in it has no fingerprint
        if fingerprint(one) == fingerprint(other):
            return None
        told = field, _short(one), _short(other)
    held = _held(one, other, field)
    if held is None:
        return told or _by_itself(one, other, field)
    return next(filter(None, (_difference(*pair) for pair in held)), told)


def _held(one: Any, other: Any, field: str) -> list[tuple[Any, Any, str]] | None:
    """Return what two containers hold, pair by pair, and what it is called; None of what is no container."""
    if isinstance(one, np.ndarray) and one.dtype.hasobject:
        one, other = [*one.shape, one.tolist()], [*other.shape, other.tolist()]
    inside = f"{field} ({type(one).__name__})"
    pairs = []
    if isinstance(one, Mapping):
        keys = set(one), set(other)
        names = one if keys[0] == keys[1] else ()
        pairs = [(*keys, f"{field} (keys)"), *((one[name], other[name], f"{field}[{name!r}]") for name in names)]
    elif isinstance(one, (Sequence, deque)) and not isinstance(one, (str, bytes, bytearray)):
        pairs = [(len(one), len(other), f"{field} (length)")]
        pairs += [(a, b, f"{field}[{place}]") for place, (a, b) in enumerate(zip(one, other, strict=False))]
    if is_dataclass(one):
        pairs += [(getattr(one, part.name), getattr(other, part.name), f"{inside}.{part.name}") for part in fields(one)]
    return pairs or ([(vars(one), vars(other), inside)] if type(one) is SimpleNamespace else None)


def _by_itself(one: Any, other: Any, field: str) -> tuple[str, str, str] | None:
    """Compare what has no fingerprint and is no container."""
    kind: Any = type(one)
    if hasattr(one, "__dict__") and kind.__eq__ is object.__eq__:
        return _difference(vars(one), vars(other), f"{field} ({kind.__name__})")
    by_bytes = kind.__eq__ is object.__eq__ or isinstance(one, np.ndarray)  # a subclass may have more than its values
    try:
        equal = pickle.dumps(one) == pickle.dumps(other) if by_bytes else bool(one == other)
    except Exception as error:
        raise _untold(one, field, str(error)) from error
    return None if equal else (field, _short(one), _short(other))


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
