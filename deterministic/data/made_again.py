"""A loader that is made in each epoch instead of once: every one begins with epoch 0, with its order and its draws."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..errors import RepeatedDrawsWarning, explain, warn
from ..ground.launch import given_seed
from ..scope import stack
from ..scope.run import Run

_RANDOM = {"shuffled", "RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler"}
"""Orders whose repetition nobody wants: an evaluation in order may have the same draws each time."""

_PROCESS = Run(None)
"""Stands for no scope, where loaders have the seed of the process; one with a seed of its own is meant so there."""

_begun: weakref.WeakKeyDictionary[Run, dict[Any, Any]] = weakref.WeakKeyDictionary()
"""By line, dataset and arguments: the last loader's record, what knows its dataset, and its latest epoch."""


def warn_if_made_again(loader: Any, record: Any, epoch: int, *, is_pinned: bool) -> None:
    """Warn, once in a scope and line, of an epoch that is also the latest of the loader made there before.

    Two that go over several epochs each are two trainings, and one whose epoch was set or loaded is meant so.
    """
    entry, order, dataset = stack.innermost(), loader._order, loader.dataset
    if order.name not in _RANDOM or (entry is None and loader.seed != given_seed()):
        return
    begun, line = _begun.setdefault(_PROCESS if entry is None else entry.run, {}), record.made_at
    key = (line, id(dataset), loader.seed, loader.keying.randomness, loader.batch_size, str(order.identity()))
    last, knows, before = begun.get(key) or (None, _recognizer(dataset), None)
    begun[key] = record, _recognizer(dataset), epoch
    is_again = last not in (None, record) and before == epoch and knows(dataset)
    if is_again and not is_pinned and line not in begun:
        begun[line] = ()  # told
        differs = "a loader was made again and begins with the same epoch: the same order and the same draws"
        values = (f"made at: {line}, with the same arguments", f"begins with: epoch {epoch}")
        remedy = "Make it once, before the loop over the epochs; or call loader.set_epoch(epoch) to say which is meant."
        warn(RepeatedDrawsWarning, explain(differs, values, remedy))


def _recognizer(dataset: Any) -> Callable[[Any], bool]:
    """Return what tells whether another dataset is this one, and keeps no data alive: an address is used again."""
    if isinstance(dataset, (list, tuple, range)):  # to which no weak references are possible
        first = [*map(id, dataset[:64])]
        return lambda other: [*map(id, other[:64])] == first
    try:
        reference = weakref.ref(dataset)
    except TypeError:
        return lambda other: False
    return lambda other: reference() is other
