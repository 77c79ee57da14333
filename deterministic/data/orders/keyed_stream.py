"""The user's IterableDataset as torch's workers see it: a key for each sample, and where it is after each batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ...errors import DeterministicError, annotate
from ..samples.dataset_epoch import DatasetEpoch
from ..samples.held import Held
from ..samples.isolation import has_drawn
from ..samples.keys import Keying, batch_key, begin, begin_seeded, collate_key, epoch_key, sample_key
from ..samples.states import seed_generators
from .base import nobody
from .upstream import HERE, Place, Upstream


class Shipped(NamedTuple):
    """A batch on its way from the worker, with the worker's place after it; a NamedTuple passes `pin_memory`."""

    batch: Any  # what `collate_fn` made
    samples: int  # of how many samples; 0: there is no batch
    worker: int  # which worker made it
    place: Place | None = None  # its place after it; None: the dataset cannot say
    after: Place | None = None  # its place between this epoch and the next, once this one is at its end
    draws: bool = False  # whether its state leaves out what it has drawn


class _Blank:
    """What stands in a batch for a sample that there is none of. The class itself is the value."""


class KeyedStream(IterableDataset[Any]):
    """The user's stream: seeded before each sample from (seed, epoch, worker, number of workers, number of the sample).

    It cuts batches as `loader` does; with `is_persistent` its workers outlive an epoch.
    """

    def __init__(self, upstream: Upstream, keying: Keying, loader: DataLoader[Any], *, is_persistent: bool) -> None:
        self.upstream = upstream
        self.dataset = upstream.dataset
        self.told = DatasetEpoch(self.dataset, keying)
        self.keying = keying
        self.held = Held(self.dataset, "dataset", keying, goes_on=True)
        self.batch_size = loader.batch_size
        self.drop_last = loader.drop_last
        # What was iterated last in this process, weakly, since it has this: the place of this worker.
        self.samples: Callable[[], Samples | None] = nobody
        self.is_persistent = is_persistent
        self._places: Mapping[int, Place] = {}
        self._turn = 0
        # Workers that outlive an epoch learn the next one's key and number from memory shared with the main process.
        self._epoch = torch.zeros(2, dtype=torch.int64, device="cpu")
        if is_persistent:
            self._epoch.share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def begin_epoch(self, key: int, epoch: int, places: Mapping[int, Place], turn: int) -> None:
        """Set an epoch's key and number, where the workers begin, and whose turn it is, for the next iterators."""
        self._epoch[0], self._epoch[1] = key - 2**63, epoch
        self._places, self._turn = places, turn

    def __iter__(self) -> Samples:
        info = get_worker_info()
        worker, workers = (0, 0) if info is None else (info.id, info.num_workers)
        key, epoch = int(self._epoch[0]) + 2**63, int(self._epoch[1])
        key, place = sample_key(sample_key(key, workers), worker), self._places.get(worker, HERE)
        samples = Samples(self, worker, key, epoch, place, (self.batch_size or 1) if worker < self._turn else 0)
        self.samples = weakref.ref(samples)
        self._places, self._turn = {}, 0  # of a worker that lives on: the next epoch begins where this one ends
        return samples


class Samples:
    """The samples of one worker in one epoch, from a place on.

    It begins with `blanks`, which are none, in the first batch of a worker whose turn was over when the place was
    saved. A persistent worker fills its last batch up with such, to ship what is after its last sample.
    """

    def __init__(self, stream: KeyedStream, worker: int, key: int, epoch: int, place: Place, blanks: int) -> None:
        self.upstream, self.held = stream.upstream, stream.held
        self.worker, self.key, self.epoch, self.place, self.blanks = worker, key, epoch, place, blanks
        self._stream = stream
        self._batch_size = stream.batch_size or 1
        self._seeds_each = stream.keying.randomness == "sample" or stream.batch_size is None
        self._lives_on = stream.is_persistent or get_worker_info() is None
        self._fetched = self.place.fetched
        self._ended = self.place.ended and self.place.fetched > 0
        self._in_batch = 0
        self._iterator: Any = None

    def __iter__(self) -> Samples:
        return self

    def __next__(self) -> Any:
        if self.blanks:
            self.blanks -= 1
            return _Blank
        if self._ended and (self._iterator is not None or not self._lives_on):
            raise StopIteration
        try:
            sample = self._make_first() if self._iterator is None else self._make()
        except StopIteration:
            self._ended = True
            self.upstream.has_given = self._fetched > 0
            if not (self._stream.is_persistent and self._fetched):
                raise
            self.blanks = self._batch_size - self._in_batch - 1
            return _Blank
        except Exception as error:
            if not isinstance(error, DeterministicError):
                annotate(error, f"while making sample {self._fetched} of worker {self.worker} in epoch {self.epoch}")
            if self._iterator is not None:
                self._fetched += 1  # the next one has a key of its own
            self._in_batch = 0
            raise
        self._fetched += 1
        self._in_batch = (self._in_batch + 1) % self._batch_size
        return sample

    def _make(self) -> Any:
        self.held.go_on()
        if not self._in_batch:
            self._stream.told.tell(self.epoch)  # also after another iterator has told it another one
        key = sample_key(self.key, self._fetched + 1)
        begin(key)
        if self._seeds_each or not self._in_batch:
            seed_generators(key)
        return next(self._iterator)

    def _make_first(self) -> Any:
        """Make the first sample here; only now: the user's __iter__ runs under a key, and isolated without workers."""
        place = self.place
        try:
            sample = self._begin(place)
        except Exception as error:
            if place.said()[0] is not None and not isinstance(error, DeterministicError):
                annotate(
                    error,
                    "the stream had just taken a saved state with its load_state_dict(); if it cannot go on from it, "
                    'pass stream_state="ignore" to make_loader: what was seen is loaded again',
                )
            raise
        if sample is _Blank and place.ended and not place.fetched:
            sample = self._begin(HERE)  # what the stream said after a pass meant its end, which is used up now
        if self.upstream.begins_wrongly(place, gave=sample is not _Blank):
            sample = self._begin(HERE)
        if sample is _Blank:
            raise StopIteration
        return sample

    def _begin(self, place: Place) -> Any:
        """Begin a pass, and return its first sample; blank, if there is none."""
        self._stream.told.tell(self.epoch)
        begin_seeded(sample_key(self.key, 0))
        self._start_held()
        if self._ended:
            self.upstream.put(place)
            self._iterator = iter(())
            return _Blank
        # What a place within an epoch says of a generator is where it was; between two, what it was before this start.
        self._iterator = self.upstream.begin(place, lambda: None if place.fetched else self._start_held())
        try:
            sample = self._make()
        except StopIteration:
            return _Blank
        self.upstream.look_for_draws(partial(has_drawn, sample_key(self.key, self._fetched + 1)))
        return sample

    def _start_held(self) -> None:
        self.held.settle()
        # The same in every worker and on every rank: they divide the data by an order that each of them draws.
        self.held.key(epoch_key(self._stream.keying.seed, self.epoch, "held"))

    def end_batch(self, length: int) -> None:
        """Seed for collating the `length` samples made last."""
        begin_seeded(collate_key(batch_key(sample_key(self.key, self._fetched), length)))
        self._in_batch = 0

    def shipped(self, samples: int) -> Shipped | None:
        """Return what says where this worker is after so many samples; None if there is nothing to say."""
        if self._iterator is None:
            return Shipped(None, 0, self.worker)
        place = self.upstream.place(self._iterator, self._fetched, ended=self._ended)
        after = self.upstream.between() if self._ended and self._stream.is_persistent else None
        if not (place or after) and samples:
            return None
        return Shipped(None, samples, self.worker, place, after, self.upstream.hides_draws)


def collate_stream(users: Callable[[Any], Any], stream: KeyedStream, samples: Any) -> Any:
    """Call the user's `collate_fn` under the batch's key; what it makes travels with where the dataset is after it."""
    made, size = stream.samples(), stream.batch_size
    if made is None:  # collated without having been asked for samples
        return users(samples)
    if size is None:
        count = int(samples is not _Blank)
    else:
        if samples[-1] is _Blank:
            samples = [sample for sample in samples if sample is not _Blank]
        count = 0 if stream.drop_last and len(samples) < size else len(samples)
    shipped = made.shipped(count)
    if not count:
        return shipped
    if size is not None:
        made.end_batch(count)
    batch = users(samples)
    return batch if shipped is None else shipped._replace(batch=batch)
