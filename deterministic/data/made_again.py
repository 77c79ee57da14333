"""A loader that is made in each epoch instead of once: every one begins with epoch 0, with its order and its draws."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import RepeatedDrawsWarning, explain, warn
from ..scope import stack
from ..scope.run import Run
from .orders.base import Position

_RANDOM = {"shuffled", "RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler"}
"""Orders whose repetition nobody wants: an evaluation in order may have the same draws each time."""


_LOOKED_AT = 64


@dataclass
class _Begun:
    """What a loader has begun: its record, what recognizes its dataset, where its first epoch started."""

    record: object
    recognizes: Callable[[object], bool]
    start: Position
    epochs: int = 1
    is_told: bool = False


_begun: weakref.WeakKeyDictionary[Run, dict[str, _Begun]] = weakref.WeakKeyDictionary()
"""Of each run the latest loaders, by the line at which they were made, their dataset and arguments."""


def warn_if_made_again(loader: Any, record: Any, start: Position, *, is_pinned: bool) -> None:
    """Warn, once in a scope and line, of an epoch that the loader made there before has begun, and nothing else.

    Two that are iterated for several epochs each are two trainings, and one whose epoch was set or loaded is meant so.
    """
    entry, order = stack.innermost(), loader._order
    if entry is None or order.name not in _RANDOM:
        return
    begun = _begun.setdefault(entry.run, {})
    key = f"{record.made_at} {id(loader.dataset)} {loader.seed} {loader.keying.randomness} {loader.batch_size} "
    key += str(order.identity())
    before = begun.get(key)
    if before is not None and before.record is record:
        before.epochs += 1
        return
    now = begun[key] = _Begun(record, _recognizer(loader.dataset), start)
    if before is None or not before.recognizes(loader.dataset):
        return
    is_same = before.epochs == 1 and not start.done and before.start.epoch == start.epoch
    now.is_told = before.is_told or (is_same and not is_pinned)
    if now.is_told and not before.is_told:
        warn(
            RepeatedDrawsWarning,
            explain(
                "a loader was made again and begins with the same epoch: the same order and the same draws",
                (f"made at: {record.made_at}, with the same arguments", f"begins with: epoch {start.epoch}"),
                "Make it once, before the loop over the epochs; or call loader.set_epoch(epoch), also where the same "
                "epoch is meant.",
            ),
        )


def _recognizer(dataset: Any) -> Callable[[object], bool]:
    """Return what tells whether another dataset is this one, and keeps no data alive: an address is used again."""
    if isinstance(dataset, (list, tuple, range)):  # to which no weak references are possible
        first = [*map(id, dataset[:_LOOKED_AT])]
        return lambda other: [*map(id, other[:_LOOKED_AT])] == first  # type: ignore[index]
    try:
        reference = weakref.ref(dataset)
    except TypeError:
        return lambda other: False
    return lambda other: reference() is other
