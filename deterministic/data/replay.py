"""`loader.replay()`: one sample as a training epoch saw it, made alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import cut, explain
from ..ground.arguments import as_integer
from .orders.base import AnyOrder, require_indices
from .orders.own import OwnOrder
from .samples.fetch import Fetch, KeyedDataset
from .samples.isolation import Isolated
from .samples.keys import epoch_key

if TYPE_CHECKING:
    from .keyed_loader import ReproducibleDataLoader
    from .orders.position import IndexOrder


def replay(loader: ReproducibleDataLoader[Any], order: AnyOrder, epoch: int, index: Any, occurrence: int) -> Any:
    """Make the sample; `ReproducibleDataLoader.replay` says what the arguments are and what is refused."""
    order = require_indices(
        order,
        loader.dataset,
        problem="a stream has no indices, so no sample of it can be made alone",
        instead="Load a state from just before the batch, and iterate to it.",
    )
    for name, number in (("epoch", epoch), ("occurrence", occurrence)):
        if (as_integer(number) or 0) < 0 or as_integer(number) is None:
            raise ValueError(
                explain(f"{name} is no count", (f"found: {cut(number)}", "expected: 0, 1, 2, ..."), "Count from 0.")
            )
    keyed = KeyedDataset(loader.dataset, loader.keying.randomness, loader.seed)
    key, again = epoch_key(loader.seed, epoch, "samples"), [occurrence] if occurrence else None
    fetch, place = Fetch([index], key, as_integer(epoch) or 0, again), 0
    if loader.is_batched and (keyed.in_batches or keyed.randomness == "batch"):
        fetch, place = _batch_with(loader, order, epoch, index, occurrence)
    with keyed.epoch.kept(), Isolated(loader.keying.worker_threads):
        return keyed.one(fetch, place) if loader.is_batched else keyed.first(fetch, 1)[0]


def _batch_with(
    loader: ReproducibleDataLoader[Any], order: IndexOrder, epoch: int, index: Any, occurrence: int
) -> tuple[Fetch, int]:
    if not isinstance(order, OwnOrder):
        raise ValueError(
            explain(
                "the sample's draws depend on its batch, and only the sampler knows the batch",
                (f"found: {order.name}, with draws that are keyed per batch",),
                'Use randomness="sample" and a dataset without __getitems__, or an order of the loader\'s own.',
            )
        )
    found = order.fetch_with(epoch, index, occurrence)
    if found is None:
        raise ValueError(
            explain(
                "the sample's draws depend on its batch, and no batch of the epoch has it",
                (f"found: index {cut(index)}, occurrence {cut(occurrence)}, epoch {cut(epoch)}",),
                f"Pass an index that the epoch has: 0 <= index < {len(loader.dataset)}.",  # type: ignore[arg-type]
            )
        )
    return found
