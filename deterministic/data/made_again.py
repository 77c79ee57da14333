"""What is made again: samples, which must be the same, for `loader.check()`; and a loader, which must not.

One that is made in each epoch instead of once begins each time with epoch 0, with its order and its draws.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..errors import DeterministicError, NotReproducibleError, RepeatedDrawsWarning, cut, warn
from ..ground import launch
from ..scope import stack
from ..scope.run import Run
from ..values.bits import undispatched
from ..values.difference import difference
from .samples.fetch import Fetch
from .samples.isolation import Isolated
from .samples.keys import begin_seeded, collate_key

_logger = logging.getLogger("deterministic.data")

_RANDOM = {"shuffled", "blocks", "RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "DistributedSampler"}
"""Orders whose repetition nobody wants: an evaluation in order may have the same draws each time."""

_LOOKED_AT = 16  # entries of a container, and elements of a tensor, by which data are known

_PROCESS = Run(None)
"""Stands for no scope, where loaders have the seed of the process; one with a seed of its own is meant so there."""


def warn_if_made_again(loader: Any, record: Any, epoch: int, *, is_pinned: bool) -> None:
    """Warn, once in a scope and line, of an epoch that is also the latest of the loader made there before.

    Two that go over several epochs each are two trainings, and who took a few batches has looked at them. One whose
    epoch was set or loaded is meant so, and so is one after another `seed_everything`.
    """
    entry, order = stack.innermost(), loader._order
    if order.name.partition(" ")[0] not in _RANDOM or (entry is None and loader.seed != launch.given_seed()):
        return
    begun = (_PROCESS if entry is None else entry.run).begun_loaders
    arguments = (launch.times_seeded, loader.seed, loader.keying.randomness, loader.batch_size, order.identity())
    last, known, latest, is_told = begun.get(record.made_at) or (None, None, None, False)
    now = known if last is record else (arguments, _traits(loader.dataset), _traits(getattr(order, "_sampler", None)))
    is_again = last not in (None, record) and last.has_ended and latest == epoch and known == now and not is_pinned
    begun[record.made_at] = record, now, None if is_pinned else epoch, is_told or is_again
    if is_again and not is_told:
        differs = "a loader was made again and begins with the same epoch: the same order and the same draws"
        values = (f"made at: {record.made_at}, with the same arguments", f"begins with: epoch {epoch}")
        remedy = "Make it once, before the loop over the epochs; or call loader.set_epoch(epoch) to say which is meant."
        warn(RepeatedDrawsWarning, differs, values, remedy)


def _traits(value: Any, depth: int = 3) -> Any:
    """Return by what a dataset or sampler is known when it is made again: its class, sizes, and some of what it holds.

    An address would not do: most are made from the same data in the function that makes the loader.
    """
    kind = type(value)
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return kind, tuple(value.shape), _start_of(value)
    if isinstance(value, (str, bytes, int, float)):
        return kind, value
    if isinstance(value, (torch.Generator, np.random.Generator)) or not depth:
        return kind
    if isinstance(value, (list, tuple, range)):
        return kind, len(value), [_traits(one, depth - 1) for one in value[:_LOOKED_AT]]
    inside = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return kind, {str(name): _traits(one, depth - 1) for name, one in islice(inside.items(), _LOOKED_AT)}


def _start_of(array: Any) -> Any:
    """Return the first elements, without a word to a recorder; None of what has no memory of its own to look at."""
    with undispatched():
        try:
            return str(array.reshape(-1)[:_LOOKED_AT].tolist())
        except (RuntimeError, TypeError, NotImplementedError):  # sparse, nested, on the meta device
            return None


def check_samples(places: list[tuple[Fetch, int]], make: Callable[[Fetch, int], Any]) -> list[Any]:
    """Make the samples at these places twice, the second time from the last to the first; return the first ones."""
    first = [make(*one) for one in places]
    for (fetch, place), before in reversed(list(zip(places, first, strict=True))):
        _require_same(before, make(fetch, place), "sample", f"index {cut(fetch.indices[place])}", "it is fetched again")
    return first


def check_collating(fetches: list[Fetch], samples: list[Any], collate: Callable[[Any], Any], threads: int) -> None:
    """Collate copies of the samples of these batches twice, the second time from the last to the first.

    The last batch may be a part of one. What cannot be copied, or is refused by `collate`, is left out.
    """
    left, batches = iter(samples), list[tuple[Fetch, list[Any]]]()
    for fetch in fetches:
        if taken := list(islice(left, len(fetch.indices))):
            batches.append((fetch.part(0, len(taken)), taken))

    def make(fetch: Fetch, taken: list[Any]) -> Any:
        with Isolated(threads):
            try:
                copied = copy.deepcopy(taken)
                begin_seeded(collate_key(fetch.batch_key))
                return collate(copied)
            except DeterministicError:
                raise
            except Exception:
                _logger.debug("check() could not collate a batch", exc_info=True)
                return None

    first = [make(*one) for one in batches]
    for one, before in reversed(list(zip(batches, first, strict=True))):
        what = f"the batch that begins with index {cut(one[0].indices[0])}"
        _require_same(before, make(*one), "batch", what, "it is collated again", keeper="collate_fn")


def check_batches(make: Callable[[], list[Any]]) -> None:
    """Make the first batches of a stream twice, and compare them."""
    first, again = make(), make()
    for number, (before, after) in enumerate(zip(first, again, strict=False)):
        _require_same(before, after, "batch", f"batch {number} of the stream", "it is iterated again")
    _require_same(len(first), len(again), "number of batches", "the stream", "it is iterated again")


def _require_same(before: Any, after: Any, name: str, what: str, when: str, *, keeper: str = "the dataset") -> None:
    differs = difference(before, after, name)
    if differs is not None:
        field, one, other = differs
        raise NotReproducibleError(
            f"{what} gives another {field} when {when}",
            (f"first: {one}", f"again: {other}"),
            f"Something in {keeper} keeps a generator, a counter or the time between samples: draw from "
            "random, numpy.random, torch or deterministic.sample_rng() instead.",
        )
