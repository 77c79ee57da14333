"""`loader.check()`: are a few samples the same when they are made again, in another order?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import NotReproducibleError, cut
from ..values.difference import difference
from .samples.fetch import Fetch, KeyedDataset
from .samples.isolation import Isolated


def check_samples(keyed: KeyedDataset, places: list[tuple[Fetch, int]], threads: int) -> None:
    """Make the samples at these places twice, the second time from the last to the first, and compare them."""

    def make(fetch: Fetch, place: int) -> Any:
        with Isolated(threads):
            return keyed.one(fetch, place)

    first = [make(*one) for one in places]
    for (fetch, place), before in reversed(list(zip(places, first, strict=True))):
        _require_same(before, make(fetch, place), "sample", f"index {cut(fetch.indices[place])}", "it is fetched again")


def check_batches(make: Callable[[], list[Any]]) -> None:
    """Make the first batches of a stream twice, and compare them."""
    first, again = make(), make()
    for number, (before, after) in enumerate(zip(first, again, strict=False)):
        _require_same(before, after, "batch", f"batch {number} of the stream", "it is iterated again")
    _require_same(len(first), len(again), "number of batches", "the stream", "it is iterated again")


def _require_same(before: Any, after: Any, name: str, what: str, when: str) -> None:
    differs = difference(before, after, name)
    if differs is not None:
        field, one, other = differs
        raise NotReproducibleError(
            f"{what} gives another {field} when {when}",
            (f"first: {one}", f"again: {other}"),
            "Something in the dataset keeps a generator, a counter or the time between samples: draw from "
            "random, numpy.random, torch or deterministic.sample_rng() instead.",
        )
