"""`loader.check()`: are a few samples the same when they are made again, in another order?"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._seeds import as_integer
from ..errors import DeterministicError, NotReproducibleError, cut, explain
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
    keyed = KeyedDataset(loader.dataset, loader.keying.randomness)
    fetches = order.look(position, count)
    wanted = [(fetch, place) for fetch in fetches for place in range(len(fetch.indices))][:count]

    def make(fetch: Fetch, place: int) -> Any:
        with Isolated(loader.keying.worker_threads):
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
    """Return the first field in which two values differ in their bits, and both values, shortened; None if in none.

    Raises:
        DeterministicError: A field is of a type that cannot be compared.
    """
    if type(one) is not type(other):
        return f"{field} (type)", type(one).__name__, type(other).__name__
    if isinstance(one, torch.Tensor):
        return _unequal(_bits_of_tensor(one), _bits_of_tensor(other), field, one, other)
    if isinstance(one, np.ndarray) and one.dtype.hasobject:
        return difference([*one.shape, one.tolist()], [*other.shape, other.tolist()], field)
    if isinstance(one, (np.ndarray, np.generic)):
        return _unequal(_bits_of_array(one), _bits_of_array(other), field, one, other)
    if isinstance(one, (float, complex)):
        # repr shows every bit of a float, but for the payload of a nan, which Python itself may change.
        return _unequal(repr(one), repr(other), field, one, other)
    if isinstance(one, (str, bytes, bytearray, int)):
        return _unequal(one, other, field, one, other)
    try:
        return _inside(one, other, field)
    except RecursionError:
        raise _untold(one, field, "it contains itself") from None


def _inside(one: Any, other: Any, field: str) -> tuple[str, str, str] | None:
    """Compare what containers and objects hold."""
    if isinstance(one, Mapping):
        if list(one) != list(other):
            return f"{field} (keys)", _short(list(one)), _short(list(other))
        return _first((one[name], other[name], f"{field}[{name!r}]") for name in one)
    if isinstance(one, (Sequence, deque)):
        if len(one) != len(other):
            return f"{field} (length)", str(len(one)), str(len(other))
        return _first((a, b, f"{field}[{place}]") for place, (a, b) in enumerate(zip(one, other, strict=True)))
    if is_dataclass(one):
        name = type(one).__name__
        values = ((getattr(one, part.name), getattr(other, part.name), part.name) for part in fields(one))
        return _first((a, b, f"{field} ({name}).{part}") for a, b, part in values)
    kind: Any = type(one)
    if hasattr(one, "__dict__") and (kind.__eq__ is object.__eq__ or kind is SimpleNamespace):
        return difference(vars(one), vars(other), f"{field} ({kind.__name__})")
    try:
        equal = pickle.dumps(one) == pickle.dumps(other) if kind.__eq__ is object.__eq__ else bool(one == other)
    except Exception as error:
        raise _untold(one, field, str(error)) from error
    return None if equal else (field, _short(one), _short(other))


def _first(pairs: Iterable[tuple[Any, Any, str]]) -> tuple[str, str, str] | None:
    for one, other, field in pairs:
        found = difference(one, other, field)
        if found is not None:
            return found
    return None


def _unequal(
    bits_of_one: object, bits_of_other: object, field: str, one: object, other: object
) -> tuple[str, str, str] | None:
    return None if bits_of_one == bits_of_other else (field, _short(one), _short(other))


def _bits_of_array(array: Any) -> tuple[object, ...]:
    return str(array.dtype), array.shape, array.tobytes()


def _bits_of_tensor(tensor: torch.Tensor) -> tuple[object, ...]:
    tensor = tensor.detach().cpu()
    parts: list[torch.Tensor] = [tensor]
    if tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout is not torch.strided:
        parts = [tensor.to_dense()]
    elif tensor.is_quantized:
        parts = [tensor.int_repr(), tensor.dequantize()]
    flat = [part.resolve_conj().resolve_neg().contiguous().reshape(-1) for part in parts]
    bits = [part.view(torch.uint8).numpy().tobytes() for part in flat]
    return str(tensor.dtype), str(tensor.layout), tuple(tensor.shape), bits


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
