"""The user's IterableDataset as torch's workers see it: a key for each sample, and where it is after each batch."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import ResumeMismatchError, explain
from .fetch import Randomness
from .keys import batch_key, collate_key, sample_key, seed_generators
from .sample import begin


class Place(NamedTuple):
    """How far one worker has come in its part of a stream.

    Attributes:
        fetched: How many samples it has made.
        ended: Whether it has given all: a dataset that starts over by itself would say that it is at the beginning.
        state: Pickled: what `state_dict()` of the dataset and of its iterator say, None for the one that has none.
    """

    fetched: int
    ended: bool
    state: bytes


class Shipped(NamedTuple):
    """A batch on its way from the worker, with the worker's place after it; a NamedTuple passes `pin_memory`."""

    batch: Any
    worker: int
    fetched: int
    ended: bool
    state: bytes


class KeyedStream(IterableDataset[Any]):
    """The user's stream: seeded before each sample from (seed, epoch, worker, number of workers, number of the sample).

    Attributes:
        dataset: The user's.
        places: Where each worker goes on; empty at the beginning of an epoch.
        samples: What was iterated last in this process: the place of this worker.
    """

    def __init__(self, dataset: Any, randomness: Randomness, *, is_batched: bool, is_persistent: bool) -> None:
        self.dataset = dataset
        self.places: Mapping[int, Place] = {}
        self.samples: Samples | None = None
        self._seeds_each = randomness == "sample" or not is_batched
        self._epoch = 0
        # Workers that outlive an epoch learn the next one's key from memory that they share with the main process.
        self._shared = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_() if is_persistent else None

    def __len__(self) -> int:
        return len(self.dataset)

    def begin_epoch(self, key: int) -> None:
        """Set the epoch's key for the iterators made from now on."""
        self._epoch = key
        if self._shared is not None:
            self._shared.fill_(key - 2**63)

    def __iter__(self) -> Samples:
        info = get_worker_info()
        worker, workers = (0, 0) if info is None else (info.id, info.num_workers)
        epoch = self._epoch if self._shared is None else int(self._shared.item()) + 2**63
        key = sample_key(sample_key(epoch, workers), worker)
        self.samples = Samples(self.dataset, worker, key, self.places.get(worker), seeds_each=self._seeds_each)
        return self.samples


class Samples:
    """The samples of one worker in one epoch.

    Args:
        dataset: The user's.
        worker: This worker's number.
        key: Of its part of the epoch.
        place: Where to go on; None: at the beginning.
        seeds_each: Whether every sample is seeded, or the first of each batch.
    """

    def __init__(self, dataset: Any, worker: int, key: int, place: Place | None, *, seeds_each: bool) -> None:
        self._dataset = dataset
        self._worker = worker
        self._key = key
        self._seeds_each = seeds_each
        self._place = place
        self._fetched = 0 if place is None else place.fetched
        self._ended = place is not None and place.ended
        self._at_batch = True
        self._iterator: Any = None

    def __iter__(self) -> Samples:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        if self._iterator is None:  # only now: the user's __iter__ runs under a key, and isolated without workers
            self._iterator = self._open()
        key = sample_key(self._key, self._fetched + 1)
        begin(key)
        if self._seeds_each or self._at_batch:
            seed_generators(key)
            self._at_batch = False
        try:
            sample = next(self._iterator)
        except StopIteration:
            self._ended = True
            raise
        except Exception:
            self._fetched += 1  # the next one has a key of its own
            raise
        self._fetched += 1
        return sample

    def _open(self) -> Any:
        of_dataset, of_iterator = (None, None) if self._place is None else pickle.loads(self._place.state)
        key = sample_key(self._key, 0)
        begin(key)
        seed_generators(key)
        if of_dataset is not None:
            self._dataset.load_state_dict(of_dataset)
        iterator = iter(self._dataset)
        if of_iterator is not None:
            if not can_seek(iterator):
                raise ResumeMismatchError(
                    explain(
                        "the state says where the dataset's iterator was, and this one cannot be put there",
                        ("saved: with a state_dict()", f"here: {type(iterator).__name__} without load_state_dict()"),
                        "Resume with the dataset that the state was saved with.",
                    )
                )
            iterator.load_state_dict(of_iterator)
        return iterator

    def end_batch(self, length: int) -> None:
        """Seed for collating the `length` samples made last."""
        key = collate_key(batch_key(sample_key(self._key, self._fetched), length))
        begin(key)
        seed_generators(key)
        self._at_batch = True

    def place(self) -> tuple[int, Place] | None:
        """Return which worker this is and how far it has come; None if the dataset cannot say."""
        of_dataset = self._dataset.state_dict() if can_seek(self._dataset) else None
        has_own = self._iterator is not self._dataset and can_seek(self._iterator)
        of_iterator = self._iterator.state_dict() if has_own else None
        if of_dataset is None and of_iterator is None:
            return None
        return self._worker, Place(self._fetched, self._ended, pickle.dumps((of_dataset, of_iterator)))


class CollateStream:
    """The user's `collate_fn` under the batch's key; what it makes travels with where the dataset is after it."""

    def __init__(self, users: Callable[[Any], Any], stream: KeyedStream, *, is_batched: bool) -> None:
        self.users = users
        self.stream = stream
        self.is_batched = is_batched

    def __call__(self, samples: Any) -> Any:
        made = self.stream.samples
        if made is None:  # collated without having been asked for samples
            return self.users(samples)
        found = made.place()
        if self.is_batched:
            made.end_batch(len(samples))
        batch = self.users(samples)
        if found is None:
            return batch
        worker, place = found
        return Shipped(batch, worker, *place)


def can_seek(dataset: Any) -> bool:
    """Return whether it says where it is and can be put there: torchdata's Stateful protocol."""
    return callable(getattr(dataset, "state_dict", None)) and callable(getattr(dataset, "load_state_dict", None))
