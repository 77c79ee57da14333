"""The epochs of an IterableDataset: no order of the loader's, but a place in each worker's part of the stream."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

from .._ranks import Ranks, current_ranks
from ..errors import ResumeMismatchError, explain
from .keying import LoaderSeed
from .keys import epoch_key
from .position import Position, Progress
from .stream import Place, Shipped, can_seek


class StreamOrder:
    """Where a stream is, for its state.

    Repeatable for the same number of workers and ranks: both are in the keys, since what a worker gives depends on how
    the dataset shares itself out. A dataset (or its iterator) that has `state_dict()` and `load_state_dict()` is
    resumed by them; any other one by loading again what was already seen.

    Args:
        dataset: The user's.
        seed: The loader's.
        workers: The number of worker processes; the loader keeps it up to date.
        batch_size: Only to be compared on resume.
        drop_last: Also only compared.
        shard: Whether the ranks differ.
    """

    name = "stream"
    fields: ClassVar[dict[str, type]] = {"turn": int, "places": list}

    def __init__(
        self, dataset: Any, seed: LoaderSeed, *, workers: int, batch_size: int | None, drop_last: bool, shard: bool
    ) -> None:
        self._dataset = dataset
        self._seed = seed
        self.workers = workers
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._shard = shard

    def key(self, epoch: int) -> int:
        """Return the key of an epoch on this rank."""
        ranks = current_ranks() if self._shard else Ranks()
        return epoch_key(self._seed.value, epoch, "stream", *ranks)

    def identity(self) -> dict[str, Any]:
        rank, world_size = current_ranks() if self._shard else Ranks()
        return {
            "order": self.name,
            "batch": self._batch_size,
            "drop_last": self._drop_last,
            "num_workers": self.workers,
            "rank": rank,
            "world_size": world_size,
        }

    def begin(self, progress: Progress) -> StreamMemory:
        """Give a progress its memory of where each worker is, from the state that it starts from."""
        memory = progress.memory = StreamMemory(progress.start.state or {}, self.workers)
        return memory

    def state(self, progress: Progress | None) -> dict[str, Any]:
        if progress is None:
            return {"done": 0, "turn": 0, "places": []}
        memory: StreamMemory = progress.memory
        return {
            "done": progress.start.done + progress.yielded,
            "turn": 0 if memory.last is None else (memory.last + 1) % max(memory.workers, 1),
            "places": [
                [worker, at.fetched, at.ended, list(pickle.loads(at.state))]
                for worker, at in sorted(memory.places.items())
            ],
            "num_workers": memory.workers,
        }

    def require_fit(self, position: Position) -> None:
        """Nothing: the number of ranks is part of the identity."""

    def position(self, state: Mapping[str, Any]) -> Position:
        if any(own[0] is not None for *_, own in state["places"]) and not can_seek(self._dataset):
            raise ResumeMismatchError(
                explain(
                    "the state says where the dataset was, and this dataset cannot be put there",
                    ("saved: with a state_dict()", f"here: {type(self._dataset).__name__} without load_state_dict()"),
                    "Resume with the dataset that the state was saved with.",
                )
            )
        return Position(state["epoch"], state["done"], state)

    def replayed(self, position: Position) -> int:
        """Return how many batches must be loaded again to reach a position."""
        return 0 if position.state is None or position.state["places"] else position.done


class StreamMemory:
    """Where each worker was after the batch of its that was yielded last.

    Attributes:
        places: By the number of the worker.
        workers: How many there are.
        rotation: The worker whose turn it was at the start.
        last: The worker that gave the batch yielded last.
    """

    def __init__(self, state: Mapping[str, Any], workers: int) -> None:
        self.places = {
            worker: Place(fetched, ended, pickle.dumps(tuple(own)))
            for worker, fetched, ended, own in state.get("places", [])
        }
        self.workers = workers
        self.rotation: int = state.get("turn", 0)
        self.last: int | None = self.rotation - 1 if self.places else None

    def take(self, shipped: Shipped) -> None:
        """Note a batch that is yielded now."""
        self.places[shipped.worker] = Place(shipped.fetched, shipped.ended, shipped.state)
        self.last = shipped.worker
