"""The epochs of an IterableDataset: no order of the loader's, but a place in each worker's part of the stream."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

from ...errors import NondeterminismWarning, ResumeMismatchError, explain, warn
from ...ground.ranks import Ranks, current_ranks
from ...values.leaves import outline
from ..samples.keying import LoaderSeed
from ..samples.keys import epoch_key
from .position import Position, Progress
from .stream import Shipped
from .upstream import Place, Upstream, has_buffer


class StreamOrder:
    """Where a stream is, for its state.

    Repeatable for the same number of workers and ranks: both are in the keys, since what a worker gives depends on how
    the dataset shares itself out. A dataset (or its iterator) that has `state_dict()` and `load_state_dict()` is
    resumed by them; any other one by loading again what was already seen, which must be the same again.

    Args:
        upstream: The user's, in this process.
        seed: The loader's.
        workers: The number of worker processes; the loader keeps it up to date.
        is_persistent: Whether they outlive an epoch.
        batch_size: Only to be compared on resume.
        drop_last: Also only compared.
        shard: Whether the ranks differ.
    """

    name = "stream"
    fields: ClassVar[dict[str, type]] = {"turn": int, "places": list}

    def __init__(
        self,
        upstream: Upstream,
        seed: LoaderSeed,
        *,
        workers: int,
        is_persistent: bool,
        batch_size: int | None,
        drop_last: bool,
        shard: bool,
    ) -> None:
        self.upstream = upstream
        self._seed = seed
        self.workers = workers
        self._is_persistent = is_persistent
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._shard = shard
        self._latest: Progress | None = None
        self._loses = upstream.can_seek and has_buffer(upstream.dataset)

    def key(self, epoch: int) -> int:
        """Return the key of an epoch on this rank."""
        ranks = current_ranks() if self._shard else Ranks()
        return epoch_key(self._seed.value, epoch, "stream", *ranks)

    def identity(self) -> dict[str, Any]:
        rank, world_size = current_ranks() if self._shard else Ranks()
        lasting = {"persistent_workers": True} if self._is_persistent and self.upstream.can_seek else {}
        return {
            "order": self.name,
            "batch": self._batch_size,
            "drop_last": self._drop_last,
            "num_workers": self.workers,
            "rank": rank,
            "world_size": world_size,
            **lasting,
        }

    def begin(self, progress: Progress, *, is_peek: bool = False) -> StreamMemory:
        """Give a progress its memory of where each worker is, from the state that it starts from."""
        state = progress.start.state
        memory = progress.memory = StreamMemory(state, self.workers) if state is not None else self._between()
        if not is_peek:
            if memory.is_left and self.workers:
                _warn_of_a_break(self.upstream.dataset)
            self._latest = progress
        return memory

    def state(self, progress: Progress | None) -> dict[str, Any]:
        memory: StreamMemory = self._between() if progress is None else progress.memory
        if progress is not None and progress.yielded:
            self._tell_of_loss()
        turn = 0 if memory.last is None else (memory.last + 1) % max(memory.workers, 1)
        places = [
            [worker, at.fetched, at.ended, list(pickle.loads(at.state))] for worker, at in sorted(memory.places.items())
        ]
        return {
            "done": 0 if progress is None else progress.start.done + progress.yielded,
            "turn": turn,
            "places": places,
            "num_workers": memory.workers,
            **({"digest": memory.digest} if memory.digest else {}),
            **({"left": True} if memory.is_left else {}),
        }

    def require_fit(self, position: Position) -> None:
        """Nothing: the number of ranks is part of the identity."""

    def position(self, state: Mapping[str, Any]) -> Position:
        has_place = any(own[0] is not None for *_, own in state["places"])
        if has_place and self.upstream.uses_state and not self.upstream.can_seek:
            name = type(self.upstream.dataset).__name__
            raise ResumeMismatchError(
                explain(
                    "the state says where the dataset was, and this dataset cannot be put there",
                    ("saved: with a state_dict()", f"here: {name} without load_state_dict()"),
                    "Resume with the dataset that the state was saved with.",
                )
            )
        if state.get("left") and self.upstream.uses_state:
            self._require_known()
        if state["done"] and has_place:
            self._tell_of_loss()
        if not self.upstream.uses_state and has_place:
            state = {**state, "turn": 0, "places": []}
        return Position(state["epoch"], state["done"], state)

    def _tell_of_loss(self) -> None:
        """Warn, once, where the dataset's own state is not all of it."""
        if self._loses:
            self._loses = False
            warn(
                NondeterminismWarning,
                explain(
                    "this stream's state leaves out its shuffle buffer: resumed within an epoch it gives other samples",
                    (f"found: {type(self.upstream.dataset).__name__} with .shuffle(buffer_size=...)",),
                    'Pass stream_state="ignore" to make_loader, then or now: what was seen is loaded again, exactly.',
                ),
            )

    def _require_known(self) -> None:
        """Refuse a state that was saved after a break where workers had fetched ahead; without them warn of it.

        Raises:
            ResumeMismatchError: There were workers.
        """
        if self.workers:
            raise ResumeMismatchError(
                explain(
                    "where the stream was when this state was saved is not known",
                    ("saved: after a break, with persistent workers that had fetched ahead", "here: new workers"),
                    "Use num_workers=0, or persistent_workers=False, with a stream whose epochs are left.",
                )
            )
        warn(
            NondeterminismWarning,
            explain(
                "an epoch of a stream was left, and then its state was saved: it goes on where that epoch was left",
                (f"found: {type(self.upstream.dataset).__name__}, which may begin each epoch anew instead",),
                'If it does, pass stream_state="ignore", or let epochs go to their end.',
            ),
        )

    def _between(self) -> StreamMemory:
        """Return what an epoch that begins now has to remember."""
        memory = StreamMemory({}, self.workers)
        before = self._latest
        if before is not None and self.upstream.can_seek and (self._is_persistent if self.workers else before.asked):
            memory.is_left = not before.ended
        if not self.workers:
            here = self.upstream.between()
            memory.places = {} if here is None else {0: here}
        elif self._is_persistent and self._latest is not None:
            memory.places = dict(self._latest.memory.after)
        return memory


class StreamMemory:
    """Where each worker was after the batch of its that was yielded last.

    Attributes:
        places: By the number of the worker.
        after: Where those are that have come to their end.
        workers: How many there are.
        turn: The worker whose turn it was at the start.
        skip: How many batches must be loaded again to reach the start.
        last: The worker that gave the batch yielded last.
        digest: Of the batches so far of a dataset that cannot say where it is, those that are loaded again included.
        is_left: Whether the epoch before was left, so that where the stream begins is not what it says.
    """

    def __init__(self, state: Mapping[str, Any], workers: int) -> None:
        self.places = {
            worker: Place(fetched, ended, pickle.dumps(tuple(own)))
            for worker, fetched, ended, own in state.get("places", [])
        }
        self.after: dict[int, Place] = {}
        self.workers = workers
        has_begun = any(place.fetched for place in self.places.values())
        self.turn: int = state.get("turn", 0) if has_begun else 0
        self.skip: int = 0 if has_begun else state.get("done", 0)
        self.last: int | None = self.turn - 1 if has_begun else None
        self.digest = 0
        self.is_left = False
        self._saved_digest: int | None = state.get("digest")
        self._saved_done: int = state.get("done", 0)

    def take(self, shipped: Shipped) -> None:
        """Note a batch that is yielded now, or that a worker has no more."""
        if shipped.place is not None:
            self.places[shipped.worker] = shipped.place
        if shipped.after is not None:
            self.after[shipped.worker] = shipped.after
        if shipped.samples:
            self.last = shipped.worker
            self.is_left = self.is_left and sum(place.fetched > 0 for place in self.places.values()) < self.workers

    def see(self, batch: Any) -> None:
        """Note a batch of a dataset that cannot say where it is."""
        self.digest = zlib.crc32(outline(batch), self.digest) or 1

    def require_same(self) -> None:
        """Refuse to go on where the batches that were loaded again are not those that were seen before."""
        if self._saved_digest not in (None, self.digest):
            raise ResumeMismatchError(
                explain(
                    "the stream does not give the batches again that it gave before the state was saved",
                    (
                        f"saved: digest {self._saved_digest:#x} of {self._saved_done} batches",
                        f"here: {self.digest:#x}",
                    ),
                    "Let it draw from random, numpy.random, torch or sample_rng(), give it a set_epoch() that decides "
                    "its order, or state_dict() and load_state_dict(). The loader's set_epoch() begins an epoch anew.",
                )
            )


def _warn_of_a_break(dataset: object) -> None:
    warn(
        NondeterminismWarning,
        explain(
            "an epoch of a stream was left, and its persistent workers had fetched ahead of it",
            (f"found: {type(dataset).__name__}, which goes on from there: prefetch_factor decides where",),
            "Use persistent_workers=False or num_workers=0, or do not leave the epoch.",
        ),
    )
