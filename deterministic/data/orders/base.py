"""The orders that a loader can have, and those among them that have indices."""

from __future__ import annotations

from typing import TypeAlias

from ...errors import explain
from .position import IndexOrder
from .stream_order import StreamOrder

AnyOrder: TypeAlias = IndexOrder | StreamOrder


def require_indices(order: AnyOrder, dataset: object, *, problem: str, instead: str) -> IndexOrder:
    """Return `order`, which must not be that of a stream.

    Args:
        order: The loader's.
        dataset: The loader's, for the error's text.
        problem: What cannot be done with a stream.
        instead: What can.

    Raises:
        TypeError: It is a stream's.
    """
    if isinstance(order, StreamOrder):
        raise TypeError(
            explain(
                problem,
                (f"found: {type(dataset).__name__}, an IterableDataset", "expected: a dataset with indices"),
                instead,
            )
        )
    return order
