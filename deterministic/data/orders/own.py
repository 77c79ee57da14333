"""The loader's own order: a function of (seed, epoch), the same at every number of ranks, cut into global batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from ...errors import ResumeMismatchError, cut, value_error
from ...ground.arguments import as_integer
from ...ground.ranks import Ranks, current_ranks, ranks_are_final
from ..samples.fetch import Fetch
from ..samples.keys import Keying, epoch_key
from .base import Epochs, IndexOrder, Position, Progress, mismatch
from .shuffling import Arrangement, Blocks, Shuffled, Words

_AHEAD = 4096
"""How many places of an order are looked up at once: numpy takes as long for few, and less than a ms for these."""


class OwnOrder(IndexOrder):
    """One order of the whole dataset an epoch, shuffled or not, that is cut into global batches.

    A global batch is `batch_size` samples for each rank, or `global_batch_size` for all ranks together; rank r has its
    r-th part. What is left at the end is dropped with `drop_last`; else it is one smaller global batch, filled up from
    the beginning of the order until every rank has the same number of samples. So every rank makes the same number of
    steps. The length of the dataset is read again every epoch; without `batch_size` samples come one by one.
    """

    fields: ClassVar[dict[str, type]] = {"batch": int}
    is_own = True

    def __init__(
        self,
        dataset: Any,
        keying: Keying,
        *,
        shuffle: object,
        block_size: int | None,
        batch_size: int | None,
        drop_last: bool,
    ) -> None:
        super().__init__(keying)
        self.is_shuffled = bool(shuffle)
        self.name = f"blocks of {block_size}" if block_size else "shuffled" if shuffle else "sequential"
        self.dataset = dataset
        self.drop_last = drop_last
        self._batch_size = batch_size or 1
        self._block_size = block_size

    def __len__(self) -> int:
        length, whole = len(self.dataset), self.global_batch()
        return length // whole if self.drop_last else -(-length // whole)

    def samples_of_a_rank(self) -> int:
        """Return how many samples each rank has in an epoch, with those that fill up the last batch."""
        full, left = divmod(len(self.dataset), self.global_batch())
        return full * self.batch_size_of_a_rank() + (0 if self.drop_last else -(-left // self.ranks().world_size))

    def ranks(self) -> Ranks:
        """Return which part of each global batch is this process's."""
        return current_ranks() if self.keying.shard else Ranks()

    def batch_size_of_a_rank(self) -> int:
        """Return how many samples a full batch has on each rank."""
        return self.global_batch() // self.ranks().world_size

    def global_batch(self) -> int:
        """Return how many samples a batch has on all ranks together; raise ValueError if they cannot share it."""
        world_size = self.ranks().world_size
        if not self.keying.is_global:
            return self._batch_size * world_size
        if self._batch_size % world_size:
            raise value_error(
                "global_batch_size cannot be shared equally by the ranks",
                (f"global_batch_size: {self._batch_size}", f"world_size: {world_size}"),
                "Choose a multiple of world_size.",
            )
        return self._batch_size

    def arrangement(self, epoch: int, length: int) -> Arrangement:
        """Return the order of an epoch, of which any part can be had alone."""
        if not self.is_shuffled:
            return Arrangement()
        key = epoch_key(self.keying.seed, epoch, "order")
        return Shuffled(length, key) if self._block_size is None else Blocks(length, self._block_size, key)

    def fetches(self, progress: Progress) -> Iterator[Fetch]:
        progress.memory, position = self.global_batch(), progress.start
        arrangement = self.arrangement(position.epoch, len(self.dataset))
        for fetch in self._cut(arrangement, position.epoch, position.done, self.ranks()):
            progress.taken += 1
            yield fetch

    def _cut(self, arrangement: Arrangement, epoch: int, start: int, ranks: Ranks) -> Iterator[Fetch]:
        """Yield a rank's parts of the global batches from the one on that starts at `start`."""
        length, whole = len(self.dataset), self.global_batch()
        key = epoch_key(self.keying.seed, epoch, "samples")
        while start < self._end(length, whole):
            size = -(-min(whole, length - start) // ranks.world_size)
            count = max(1, min(_AHEAD // size, (length - start) // whole))
            steps: Words = np.arange(count, dtype=np.uint64)[:, None]
            first: Words = np.arange(size, dtype=np.uint64) + np.uint64(start + ranks.rank * size)
            places = steps * np.uint64(min(whole, length)) + first
            again, places = np.divmod(places, np.uint64(length))  # only a last batch that is filled up comes round
            occurrences = again[0].tolist() if again.any() else None
            for indices in arrangement.at(places).tolist():
                yield Fetch(indices, key, epoch, occurrences)
            start += count * whole

    def _end(self, length: int, whole: int) -> int:
        """Return at which place of the order the epoch ends."""
        return length - length % whole if self.drop_last else length

    def look(self, position: Position, count: int) -> list[Fetch]:
        return list(islice(self.fetches(Progress(position)), count))

    def fetch_with(self, epoch: int, index: Any, occurrence: int) -> tuple[Fetch, int]:
        length, whole, world_size = len(self.dataset), self.global_batch(), self.ranks().world_size
        number = as_integer(index)
        if number is not None and 0 <= number < length:
            arrangement = self.arrangement(epoch, length)
            place = arrangement.place_of(number) + occurrence * length
            start = min(place, length - 1) // whole * whole
            size = -(-min(whole, length - start) // world_size)
            if start < self._end(length, whole) and place < start + size * world_size:
                rank, within = divmod(place - start, size)
                return next(self._cut(arrangement, epoch, start, Ranks(rank, world_size))), within
        raise value_error(
            "the sample's draws depend on its batch, and no batch of the epoch has it",
            (f"found: index {cut(index)}, occurrence {cut(occurrence)}, epoch {cut(epoch)}",),
            f"Pass an index that the epoch has: 0 <= index < {length}.",
        )

    def identity(self) -> dict[str, Any]:
        dropping = {"drop_last": True} if self.drop_last else {}
        return {"order": self.name, "length": len(self.dataset), **dropping}

    def state(self, progress: Progress | None) -> dict[str, Any]:
        whole = (progress and progress.memory) or self.global_batch()
        done = 0 if progress is None else progress.start.done + progress.yielded * whole
        return {"done": min(done, len(self.dataset)), "batch": whole}

    def position(self, state: Mapping[str, Any]) -> Position:
        done, whole, length = state["done"], state["batch"], len(self.dataset)
        if whole < 1 or (done % whole and done != length) or done > length:
            raise ResumeMismatchError(
                "the state holds no place between two batches",
                (f"done: {done}", f"batch: {whole}", f"length: {length}"),
                "Pass what the loader's state_dict() returned; nothing was changed.",
            )
        position = Position(state["epoch"], done, state)
        if self.keying.is_global or not self.keying.shard or ranks_are_final():
            self._require_batch(position, self.global_batch())
        elif state["batch"] % self._batch_size:  # how many ranks there will be is not known yet, but none makes it fit
            self._require_batch(position, self._batch_size)
        return position

    def require_fit(self, position: Position) -> None:
        self._require_batch(position, self.global_batch())

    def _require_batch(self, position: Position, whole: int) -> None:
        """Refuse a position within an epoch that was cut into other global batches."""
        if position.state is not None and position.state["batch"] != whole:
            raise mismatch(
                "the state was saved with another global batch (batch_size times the number of ranks)",
                position.state["batch"],
                whole,
                "Pass global_batch_size= to have the same at any number of ranks, or the batch_size that gives it.",
            )


class OwnSampler(DistributedSampler[int]):
    """What `loader.sampler` is when the loader has its own order: this rank's indices of the epoch that is next.

    A DistributedSampler, so that frameworks see that the ranks already share the data and do not share it out again.
    """

    def __init__(self, order: OwnOrder, epochs: Epochs) -> None:
        # Not DistributedSampler's own: it wants the number of ranks now, and torch.distributed may not be initialised.
        self.order = order
        self.epochs = epochs
        self.dataset = order.dataset
        self.shuffle = order.is_shuffled
        self.drop_last = order.drop_last

    def __iter__(self) -> Iterator[int]:
        for fetch in self.order.fetches(Progress(self.epochs.next)):
            yield from fetch.indices

    def __len__(self) -> int:
        return self.order.samples_of_a_rank()

    # Plain attributes there; here they are what holds now.
    num_samples: Any = property(lambda self: self.order.samples_of_a_rank())
    total_size: Any = property(lambda self: self.num_samples * self.num_replicas)
    epoch: Any = property(lambda self: self.epochs.next.epoch)
    seed: Any = property(lambda self: self.order.keying.seed)
    rank: Any = property(lambda self: self.order.ranks().rank)
    num_replicas: Any = property(lambda self: self.order.ranks().world_size)

    def set_epoch(self, epoch: int) -> None:
        """Pin the loader's next epoch."""
        self.epochs.pin(epoch)
