"""`loader.check()`: are a few samples the same when they are made again, in another order?"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import DeterministicError, NotReproducibleError, explain
from .fetch import Fetch, KeyedDataset
from .isolation import Isolated
from .stream_order import StreamOrder

if TYPE_CHECKING:
    from .keyed_loader import ReproducibleDataLoader
    from .order import OwnOrder
    from .position import Position
    from .sampler import SamplerOrder


def check_samples(
    loader: ReproducibleDataLoader[Any], order: OwnOrder | SamplerOrder | StreamOrder, position: Position, samples: int
) -> None:
    """Make the first samples from `position` on twice, the second time from the last to the first, and compare them.

    Raises:
        NotReproducibleError: One differs.
        DeterministicError: One cannot be compared.
        TypeError: The dataset has no indices, or `samples` is not an integer.
        ValueError: `samples` is below 1.
    """
    if isinstance(order, StreamOrder):
        raise TypeError(
            explain(
                "a stream cannot be asked for its samples in another order",
                (f"found: {type(loader.dataset).__name__}, an IterableDataset", "expected: a dataset with indices"),
                "Compare two passes over one epoch of it: set_epoch(0) before each.",
            )
        )
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(explain("samples is below 1", (f"found: {samples!r}",), "Check at least one sample."))
    keyed = KeyedDataset(loader.dataset, loader.keying.randomness)
    fetches = order.look(position, samples)
    wanted = [(fetch, place) for fetch in fetches for place in range(len(fetch.indices))][:samples]

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
                    f"index {fetch.indices[place]!r} gives another {field} when it is fetched again",
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
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return None if _bits(one) == _bits(other) else (field, _short(one), _short(other))
    if isinstance(one, Mapping):
        if list(one) != list(other):
            return f"{field} (keys)", _short(list(one)), _short(list(other))
        return _first((one[name], other[name], f"{field}[{name!r}]") for name in one)
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return f"{field} (length)", str(len(one)), str(len(other))
        return _first((a, b, f"{field}[{place}]") for place, (a, b) in enumerate(zip(one, other, strict=True)))
    if isinstance(one, float):
        same = (one == other and math.copysign(1, one) == math.copysign(1, other)) or (one != one and other != other)
        return None if same else (field, repr(one), repr(other))
    kind: Any = type(one)
    if is_dataclass(one) or (kind.__eq__ is object.__eq__ and hasattr(one, "__dict__")):
        return difference(vars(one), vars(other), f"{field} ({kind.__name__})")
    if kind.__eq__ is object.__eq__:
        return _pickled(one, other, field)
    return None if bool(one == other) else (field, _short(one), _short(other))


def _first(pairs: Iterable[tuple[Any, Any, str]]) -> tuple[str, str, str] | None:
    for one, other, field in pairs:
        found = difference(one, other, field)
        if found is not None:
            return found
    return None


def _bits(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(array, np.ndarray):
        data = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        return str(array.dtype), array.shape, data
    tensor = array.detach().cpu().resolve_conj().resolve_neg()
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return str(tensor.dtype), tuple(tensor.shape), pickle.dumps(tensor)
    flat = tensor.contiguous().reshape(-1)
    return str(tensor.dtype), tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes()


def _pickled(one: Any, other: Any, field: str) -> tuple[str, str, str] | None:
    try:
        same = pickle.dumps(one) == pickle.dumps(other)
    except Exception as error:
        raise DeterministicError(
            explain(
                f"{field} cannot be compared, so whether it is the same cannot be told",
                (f"found: {type(one).__module__}.{type(one).__qualname__}", f"pickling it: {error}"),
                "Give the type an __eq__, or return tensors, arrays, numbers and strings.",
            )
        ) from error
    return None if same else (field, _short(one), _short(other))


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
