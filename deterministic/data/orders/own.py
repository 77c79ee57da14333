"""The loader's own order: a function of (seed, epoch), the same at every number of ranks, cut into global batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, cast

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from ...errors import ResumeMismatchError, cut, explain
from ...ground.ranks import Ranks, current_ranks, ranks_are_final
from ..samples.fetch import Fetch
from ..samples.keys import Keying, epoch_key
from .base import Epochs, IndexOrder, Position, Progress, mismatch


class OwnOrder(IndexOrder):
    """One order of the whole dataset an epoch, shuffled or not, that is cut into global batches.

    A global batch is `batch_size` samples for each rank, or `global_batch_size` for all ranks together; rank r has its
    r-th part. What is left at the end is dropped with `drop_last`; else it is one smaller global batch, filled up from
    the beginning of the order until every rank has the same number of samples. So every rank makes the same number of
    steps. The length of the dataset is read again every epoch; without `batch_size` samples come one by one.
    """

    fields: ClassVar[dict[str, type]] = {"batch": int}
    is_own = True

    def __init__(self, dataset: Any, keying: Keying, *, shuffle: bool, batch_size: int | None, drop_last: bool) -> None:
        super().__init__(keying)
        self.name = "shuffled" if shuffle else "sequential"
        self.dataset = dataset
        self.drop_last = drop_last
        self._batch_size = batch_size or 1

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
            raise ValueError(
                explain(
                    "global_batch_size cannot be shared equally by the ranks",
                    (f"global_batch_size: {self._batch_size}", f"world_size: {world_size}"),
                    "Choose a multiple of world_size.",
                )
            )
        return self._batch_size

    def permutation(self, epoch: int) -> Sequence[int] | np.ndarray[Any, Any]:
        """Return the order of an epoch.

        From numpy's RandomState, the one generator whose stream is frozen for good (NEP 19): an order does not change
        with the version of a library. 8 bytes a sample; 40 ms for a million.
        """
        length = len(self.dataset)
        if self.name == "sequential":
            return range(length)
        key = epoch_key(self.keying.seed, epoch, "order")
        return np.random.RandomState([key & 0xFFFFFFFF, key >> 32]).permutation(length)

    def fetches(self, progress: Progress) -> Iterator[Fetch]:
        position = progress.start
        ranks, whole = self.ranks(), self.global_batch()
        progress.memory = whole
        key = epoch_key(self.keying.seed, position.epoch, "samples")
        order = self.permutation(position.epoch)
        for start in range(position.done, self._end(len(order), whole), whole):
            progress.taken += 1
            yield part(order, start, whole, ranks, key, position.epoch)

    def _end(self, length: int, whole: int) -> int:
        """Return at which place of the order the epoch ends."""
        return length - length % whole if self.drop_last else length

    def look(self, position: Position, count: int) -> list[Fetch]:
        return list(islice(self.fetches(Progress(position)), count))

    def fetch_with(self, epoch: int, index: Any, occurrence: int) -> tuple[Fetch, int]:
        whole, order = self.global_batch(), self.permutation(epoch)
        key = epoch_key(self.keying.seed, epoch, "samples")
        places = np.flatnonzero(np.asarray(order) == index)
        if len(places) and places[0] < self._end(len(order), whole):
            # An index comes again only where the last batch is filled up.
            start = (len(order) - 1 if occurrence else int(places[0])) // whole * whole
            world_size = self.ranks().world_size
            for rank in range(world_size):
                fetch = part(order, start, whole, Ranks(rank, world_size), key, epoch)
                for place, candidate in enumerate(fetch.indices):
                    if candidate == index and fetch.occurrence(place) == occurrence:
                        return fetch, place
        raise ValueError(
            explain(
                "the sample's draws depend on its batch, and no batch of the epoch has it",
                (f"found: index {cut(index)}, occurrence {cut(occurrence)}, epoch {cut(epoch)}",),
                f"Pass an index that the epoch has: 0 <= index < {len(order)}.",
            )
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
                explain(
                    "the state holds no place between two batches",
                    (f"done: {done}", f"batch: {whole}", f"length: {length}"),
                    "Pass what the loader's state_dict() returned; nothing was changed.",
                )
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


def part(
    order: Sequence[int] | np.ndarray[Any, Any], start: int, whole: int, ranks: Ranks, key: int, epoch: int
) -> Fetch:
    """Return this rank's part of the global batch that starts at `start`."""
    left = len(order) - start
    if left >= whole:
        size = whole // ranks.world_size
        first = start + ranks.rank * size
        return Fetch(_as_list(order[first : first + size]), key, epoch)
    size = -(-left // ranks.world_size)
    first, end = ranks.rank * size, (ranks.rank + 1) * size
    indices = _as_list(order[start + first : start + min(end, left)])
    fill = [position - left for position in range(max(first, left), end)]
    if not fill:
        return Fetch(indices, key, epoch)
    occurrences = [0] * len(indices) + [1 + position // len(order) for position in fill]
    return Fetch(indices + [int(order[position % len(order)]) for position in fill], key, epoch, occurrences)


class OwnSampler(DistributedSampler[int]):
    """What `loader.sampler` is when the loader has its own order: this rank's indices of the epoch that is next.

    A DistributedSampler, so that frameworks see that the ranks already share the data and do not share it out again.
    """

    def __init__(self, order: OwnOrder, epochs: Epochs) -> None:
        # Not DistributedSampler's own: it wants the number of ranks now, and torch.distributed may not be initialised.
        self.order = order
        self.epochs = epochs
        self.dataset = order.dataset
        self.shuffle = order.name == "shuffled"
        self.drop_last = order.drop_last

    def __iter__(self) -> Iterator[int]:
        for fetch in self.order.fetches(Progress(self.epochs.next)):
            yield from fetch.indices

    def __len__(self) -> int:
        return self.num_samples

    # Plain attributes there:

    @property
    def num_samples(self) -> int:  # type: ignore[override]
        """How many samples each rank has in an epoch."""
        return self.order.samples_of_a_rank()

    @property
    def total_size(self) -> int:  # type: ignore[override]
        """How many samples all ranks have together."""
        return self.num_samples * self.num_replicas

    @property
    def epoch(self) -> int:  # type: ignore[override]
        """The epoch that is next."""
        return self.epochs.next.epoch

    @property
    def seed(self) -> int:  # type: ignore[override]
        """The loader's seed."""
        return self.order.keying.seed

    @property
    def rank(self) -> int:  # type: ignore[override]
        """This process's, as DistributedSampler has it."""
        return self.order.ranks().rank

    @property
    def num_replicas(self) -> int:  # type: ignore[override]
        """How many ranks share the data."""
        return self.order.ranks().world_size

    def set_epoch(self, epoch: int) -> None:
        """Pin the loader's next epoch."""
        self.epochs.pin(epoch)


def _as_list(indices: Sequence[int] | np.ndarray[Any, Any]) -> list[int]:
    return cast("list[int]", indices.tolist()) if isinstance(indices, np.ndarray) else list(indices)
