"""`loader.check()`: are a few samples the same when they are made again, in another order?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from ..errors import NotReproducibleError, cut, explain
from ..ground.seeds import as_integer
from ..values.difference import difference
from .orders.base import AnyOrder
from .orders.position import Position
from .orders.stream_order import StreamOrder
from .samples.fetch import Fetch, KeyedDataset
from .samples.isolation import Isolated
from .samples.keying import Keying


def check_samples(
    loader: DataLoader[Any],
    keying: Keying,
    look: Callable[[Position], Iterable[Any]],
    order: AnyOrder,
    position: Position,
    samples: int,
) -> None:
    """Make the first samples from `position` on twice, the second time from the last to the first, and compare them.

    Of a stream the first batches of the epoch are made twice, by copies of it: `look` iterates from a position on.

    Raises:
        NotReproducibleError: One differs.
        DeterministicError: One cannot be compared, or the stream cannot be copied.
        ValueError: `samples` is no number of at least 1.
    """
    count = as_integer(samples)
    if count is None or count < 1:
        raise ValueError(
            explain(
                "samples is no number of samples",
                (f"found: {cut(samples)}", "expected: an int, 1 or more"),
                "Check at least one sample, for example check(8).",
            )
        )
    if isinstance(order, StreamOrder):
        batches = -(-count // (loader.batch_size or 1))
        first, again = (list(islice(look(Position(position.epoch)), batches)) for _ in range(2))
        for number, (before, after) in enumerate(zip(first, again, strict=False)):
            _require_same(before, after, "batch", f"batch {number} of the stream", "it is iterated again")
        return _require_same(len(first), len(again), "number of batches", "the stream", "it is iterated again")
    keyed = KeyedDataset(loader.dataset, keying.randomness, keying.seed.value)
    wanted = [(fetch, place) for fetch in order.look(position, count) for place in range(len(fetch.indices))][:count]

    def make(fetch: Fetch, place: int) -> Any:
        with Isolated(keying.worker_threads):
            return keyed.one(fetch, place)

    made = [make(*one) for one in wanted]
    for (fetch, place), before in reversed(list(zip(wanted, made, strict=True))):
        _require_same(before, make(fetch, place), "sample", f"index {cut(fetch.indices[place])}", "it is fetched again")


def _require_same(before: Any, after: Any, name: str, what: str, when: str) -> None:
    differs = difference(before, after, name)
    if differs is not None:
        field, one, other = differs
        raise NotReproducibleError(
            explain(
                f"{what} gives another {field} when {when}",
                (f"first: {one}", f"again: {other}"),
                "Something in the dataset keeps a generator, a counter or the time between samples: draw from "
                "random, numpy.random, torch or deterministic.sample_rng() instead.",
            )
        )
