"""What the loader's worker is asked for, and the dataset that answers: the user's, with every sample under its key."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from torch.utils.data import Dataset, StackDataset, Subset

from ...errors import annotate, cut
from .dataset_epoch import DatasetEpoch
from .held import Held
from .keys import Keying, batch_key, begin, begin_seeded, collate_key, sample_key, sample_keys, under_way
from .states import seed_generators

T = TypeVar("T")

_ANEW = 3  # how often samples are made anew because they made generators: some make a new one each time


class Fetch(NamedTuple):
    """One batch to fetch. Everything that its draws depend on travels in it, so workers hold no state."""

    indices: Any  # what the dataset is asked for, in order: a list, or what else a batch sampler gives
    epoch: int  # the key of the epoch's samples
    number: int  # which epoch that is
    occurrences: list[int] | None = None  # how often the epoch has asked for each before; None: never

    def occurrence(self, place: int) -> int:
        """Return how often the epoch has asked before for what is at this place of the batch."""
        return self.occurrences[place] if self.occurrences else 0

    def part(self, start: int, stop: int) -> Fetch:
        """Return a fetch of these places alone."""
        occurrences = self.occurrences[start:stop] if self.occurrences else None
        return Fetch(self.indices[start:stop], self.epoch, self.number, occurrences)

    @property
    def batch_key(self) -> int:
        """The key of the batch as a whole."""
        if not len(self.indices):
            return self.epoch
        return batch_key(sample_key(self.epoch, self.indices[0], self.occurrence(0)), len(self.indices))


class KeyedDataset(Dataset[Any]):
    """The user's dataset as torch's fetchers see it: asked for a `Fetch`, it seeds before each sample.

    With randomness="batch" before every batch; so it does a dataset that makes a batch in one call of `__getitems__`.
    """

    def __init__(self, dataset: Any, keying: Keying) -> None:
        self.dataset = dataset
        self.epoch = DatasetEpoch(dataset, keying)
        self.held = Held(dataset, "dataset", keying)
        self.in_batches = makes_batches(dataset)
        self._per_sample = keying.randomness == "sample"
        self.is_keyed_per_batch = self.in_batches or not self._per_sample

    def __getitems__(self, fetch: Fetch) -> Sequence[Any]:
        samples = self._whole(fetch) if self.in_batches else self.first(fetch, len(fetch.indices))
        begin_seeded(collate_key(fetch.batch_key))
        return samples

    def __getitem__(self, fetch: Fetch) -> Any:
        """Make the one sample of a loader that does not batch; converting it belongs to the sample."""
        return self.first(fetch, 1)[0]

    def first(self, fetch: Fetch, count: int) -> list[Any]:
        """Make the first `count` samples of a batch, one by one."""
        return self._steadily(fetch, partial(self._one_by_one, count))

    def _steadily(self, fetch: Fetch, make: Callable[[Fetch], T | None]) -> T:
        """Make samples; anew, where generators have appeared meanwhile that had no key."""
        self.epoch.tell(fetch.number)
        self.held.settle()
        again = iter(range(_ANEW))
        while (samples := make(fetch)) is None or (self.held.settle() and next(again, None) is not None):
            pass
        return samples

    def _one_by_one(self, count: int, fetch: Fetch) -> list[Any] | None:
        """Make the first samples of a batch; None: the very first one has made generators."""
        dataset, held, per_sample = self.dataset, self.held, self._per_sample
        if not per_sample:
            seed_generators(fetch.batch_key)
            held.key(fetch.batch_key)
        wanted, samples = fetch.part(0, count), list[Any]()
        keys = sample_keys(wanted.epoch, wanted.indices, wanted.occurrences)
        try:
            for index, key in zip(wanted.indices, keys, strict=True):
                begin(key)
                if per_sample:
                    seed_generators(key)
                    held.key(key)
                sample = dataset[index]
                if held.is_new and held.settle():
                    return None
                samples.append(sample)
        except Exception as error:
            _tell_which(error, wanted, len(samples))
            raise
        return samples

    def one(self, fetch: Fetch, position: int) -> Any:
        """Make one sample as the batch has it, with no more of the batch than its draws need."""
        if self.in_batches:
            return self._whole(fetch)[position]
        if not self._per_sample:
            return self.first(fetch, position + 1)[position]
        return self.first(fetch.part(position, position + 1), 1)[0]

    def _whole(self, fetch: Fetch) -> Sequence[Any]:
        return self._steadily(fetch, self._at_once)

    def _at_once(self, fetch: Fetch) -> Sequence[Any]:
        begin_seeded(fetch.batch_key)
        self.held.key(fetch.batch_key)
        try:
            samples: Sequence[Any] = self.dataset.__getitems__(fetch.indices)
        except Exception as error:
            if len(fetch.indices):
                _tell_which(error, fetch, 0, "the batch that begins with ")
            raise
        return samples


def keyed_collate(users: Callable[[Any], Any], keying: Keying) -> Callable[[Any], Any]:
    """Return a `collate_fn` under its batch's key; the user's as it is, where it holds no generator and makes none."""
    held = Held(users, "collate_fn", keying)
    held.settle()
    return partial(_collate, users, held) if held or held.may_make_some else users


def _collate(users: Callable[[Any], Any], held: Held, samples: Any) -> Any:
    """Collate with a function that holds generators, which are put where the key of what it collates says.

    The first batch in a process is collated anew where that has made generators, as transformers' collators do, from a
    copy: a function may take out of the samples what it needs.
    """
    key, _ = under_way()
    is_first = held.is_new
    held.settle()
    if key is None:
        return users(samples)
    copied = _copy(samples) if is_first and held.may_make_some else None
    held.key(key)
    collated = users(samples)
    if copied is not None and held.settle():
        begin_seeded(key)
        held.key(key)
        collated = users(copied)
    return collated


def _copy(samples: Any) -> Any:
    """Return a copy of samples; None of what cannot be copied."""
    with suppress(Exception):
        return copy.deepcopy(samples)
    return None


def _tell_which(error: Exception, fetch: Fetch, place: int, what: str = "") -> None:
    """Add to an error which sample it came of, and how that one is made again."""
    index, again = cut(fetch.indices[place]), fetch.occurrence(place)
    asked = f"{fetch.number}, {index}{f', {again}' if again else ''}"
    annotate(
        error,
        f"while making {what}index {index} in epoch {fetch.number}, occurrence {again}; "
        f"loader.replay({asked}) makes it again, alone and in the main process",
    )


def makes_batches(dataset: Any) -> bool:
    """Return whether the dataset makes its samples a batch at a time, in a `__getitems__` of its own.

    torch's `Subset` and `StackDataset` always have one, which only passes on what the datasets inside them have.
    """
    if getattr(dataset, "__getitems__", None) is None:
        return False
    if isinstance(dataset, Subset) and type(dataset).__getitems__ is Subset.__getitems__:
        return makes_batches(dataset.dataset)
    if isinstance(dataset, StackDataset) and type(dataset).__getitems__ is StackDataset.__getitems__:
        inside = dataset.datasets
        return any(makes_batches(one) for one in (inside.values() if isinstance(inside, dict) else inside))
    return True
