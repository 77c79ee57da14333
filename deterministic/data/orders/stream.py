"""The epochs of an IterableDataset: no order of the loader's, but a place in each worker's part of the stream."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, NoReturn

from torch.utils.data import DataLoader

from ...errors import NondeterminismWarning, ReplayWarning, type_error, warn
from ...ground.ranks import Ranks, current_ranks
from ...values.leaves import outline
from ..samples.fetch import keyed_collate
from ..samples.keys import Keying, epoch_key
from ..samples.torch_internals import unwrapped
from .base import Feed, Order, Position, Progress, mismatch
from .keyed_stream import KeyedStream, Shipped, collate_stream
from .upstream import BEGINNING, Place, Upstream, has_buffer


class StreamOrder(Order):
    """Where a stream is, for its state.

    Repeatable for the same number of workers and ranks: both are in the keys, since what a worker gives depends on how
    the dataset shares itself out. A dataset (or its iterator) that has `state_dict()` and `load_state_dict()` is
    resumed by them; any other one by loading again what was already seen, which must be the same again. What else of
    the loader is `compared` on resume stands by its name in the state.
    """

    name = "stream"
    fields: ClassVar[dict[str, type]] = {"turn": int, "places": list}
    has_indices = False

    def __init__(self, upstream: Upstream, keying: Keying, *, is_persistent: bool, **compared: Any) -> None:
        super().__init__(keying)
        self.upstream = upstream
        self._is_persistent = is_persistent
        self._compared = compared
        self._latest: Progress | None = None
        self._loses = upstream.can_seek and has_buffer(upstream.dataset)
        self._has_told = False

    @property
    def _dataset(self) -> str:
        return type(self.upstream.dataset).__name__

    def with_indices(self) -> NoReturn:
        raise type_error(
            "a stream has no indices, so no sample of it can be made alone",
            (f"found: {self._dataset}, an IterableDataset", "expected: a dataset with indices"),
            "Load a state from just before the batch, and iterate to it.",
        )

    def feed(self, loader: DataLoader[Any], *, is_lasting: bool, upstream: Upstream | None = None) -> Feed:
        stream = KeyedStream(upstream or self.upstream, self.keying, loader, is_persistent=is_lasting)
        collate = partial(collate_stream, keyed_collate(unwrapped(loader.collate_fn), self.keying), stream)
        cut = {"batch_size": stream.batch_size, "drop_last": stream.drop_last}
        return Feed(stream, collate, partial(self._begin_in, stream), cut)

    def peek(self, loader: DataLoader[Any], progress: Progress) -> tuple[Feed, int]:
        self._remember(progress)
        feed = self.feed(loader, is_lasting=False, upstream=None if self.workers else self.upstream.copy())
        feed.begin(progress, True)
        return feed, self.workers

    def _begin_in(self, stream: KeyedStream, progress: Progress, is_new: bool) -> None:
        memory, start = progress.memory, progress.start
        # A stream that has lived on is where it is; only a new or a loaded one has to be put there.
        is_loaded = start.state is not None
        places = dict(memory.places) if is_loaded or (is_new and self.workers) else {}
        if is_loaded and not self.workers:
            places = places or {0: BEGINNING}
        stream.begin_epoch(self.key(start.epoch), start.epoch, places, memory.turn)

    def key(self, epoch: int) -> int:
        """Return the key of an epoch on this rank."""
        return epoch_key(self.keying.seed, epoch, "stream", *self._ranks())

    def _ranks(self) -> Ranks:
        return current_ranks() if self.keying.shard else Ranks()

    def identity(self) -> dict[str, Any]:
        rank, world_size = self._ranks()
        lasting = {"persistent_workers": True} if self._is_persistent and self.upstream.can_seek else {}
        split = {"num_workers": self.workers, "rank": rank, "world_size": world_size}
        return {"order": self.name, **self._compared, **split, **lasting}

    def begin(self, progress: Progress) -> None:
        if self._remember(progress).is_left and self.workers:
            warn(
                NondeterminismWarning,
                "an epoch of a stream was left, and its persistent workers had fetched ahead of it",
                (f"found: {self._dataset}, which goes on from there: prefetch_factor decides where",),
                "Use persistent_workers=False or num_workers=0, or do not leave the epoch.",
            )
        self._latest = progress

    def _remember(self, progress: Progress) -> StreamMemory:
        """Give a progress its memory of where each worker is, from the state that it starts from."""
        state = progress.start.state
        memory = progress.memory = self._between() if state is None else StreamMemory(state, self.workers)
        progress.skip = memory.skip
        if memory.skip:
            warn(
                ReplayWarning,
                "this dataset cannot say where it was, so what was seen before is loaded again, and left out",
                (f"found: {self._dataset} without state_dict()", f"batches to load again: {memory.skip}"),
                "Give the dataset state_dict() and load_state_dict() to resume at once.",
            )
        return memory

    def received(self, progress: Progress, item: Any) -> tuple[bool, Any]:
        if type(item) is Shipped:
            progress.memory.take(item)
            return item.samples > 0, item.batch
        progress.memory.see(item)
        return True, item

    def caught_up(self, progress: Progress) -> None:
        progress.memory.require_same()

    def state(self, progress: Progress | None) -> dict[str, Any]:
        memory: StreamMemory = self._between() if progress is None else progress.memory
        if progress is not None and progress.yielded:
            self._tell_of_loss(draws=memory.draws)
        places = [
            [worker, at.fetched, at.ended, list(pickle.loads(at.state))] for worker, at in sorted(memory.places.items())
        ]
        return {
            "done": 0 if progress is None else progress.start.done + progress.yielded,
            "turn": memory.turn,
            "places": places,
            "num_workers": memory.workers,
            **({"digest": memory.digest} if memory.digest else {}),
            **({"left": True} if memory.is_left else {}),
        }

    def position(self, state: Mapping[str, Any]) -> Position:
        has_place = any(own[0] is not None for *_, own in state["places"])
        if has_place and self.upstream.uses_state and not self.upstream.can_seek:
            raise mismatch(
                "the state says where the dataset was, and this dataset cannot be put there",
                "with a state_dict()",
                f"{self._dataset} without load_state_dict()",
                "Resume with the dataset that the state was saved with.",
            )
        if state.get("left") and self.upstream.uses_state:
            self._require_known()
        if state["done"] and has_place:
            self._tell_of_loss()
        if not self.upstream.uses_state and has_place:
            state = {**state, "turn": 0, "places": []}
        return Position(state["epoch"], state["done"], state)

    def _tell_of_loss(self, *, draws: bool = False) -> None:
        """Warn, once, where the dataset's own state is not all of it."""
        if not (self._loses or (draws and not self._has_told)):
            return
        what, of, gives = "its shuffle buffer", ".shuffle(buffer_size=...)", "gives"
        if not self._loses:
            what, gives = "what it has drawn for samples that it makes again", "may give"
            of = "from_generator(...), batched=True or .batch(...), and random numbers"
        self._loses, self._has_told = False, True
        warn(
            NondeterminismWarning,
            f"this stream's state leaves out {what}: resumed within an epoch it {gives} other samples",
            (f"found: {self._dataset} with {of}",),
            'Pass stream_state="ignore" to make_loader, then or now: what was seen is loaded again, exactly.',
        )

    def _require_known(self) -> None:
        """Refuse a state that was saved after a break where workers had fetched ahead; without them warn of it."""
        if self.workers:
            raise mismatch(
                "where the stream was when this state was saved is not known",
                "after a break, with persistent workers that had fetched ahead",
                "new workers",
                "Use num_workers=0, or persistent_workers=False, with a stream whose epochs are left.",
            )
        warn(
            NondeterminismWarning,
            "an epoch of a stream was left, and then its state was saved: it goes on where that epoch was left",
            (f"found: {self._dataset}, which may begin each epoch anew instead",),
            'If it does, pass stream_state="ignore", or let epochs go to their end.',
        )

    def _between(self) -> StreamMemory:
        """Return what an epoch that begins now has to remember."""
        memory = StreamMemory({}, self.workers)
        before = self._latest
        if before is not None and self.upstream.can_seek and (self._is_persistent if self.workers else before.asked):
            memory.is_left = not before.ended
        if not self.workers:
            place = self.upstream.between()
            memory.places = {} if place is None else {0: place}
        elif self._is_persistent and before is not None:
            memory.places = dict(before.memory.after)
        return memory


class StreamMemory:
    """Where each worker was after the batch of its that was yielded last."""

    def __init__(self, state: Mapping[str, Any], workers: int) -> None:
        self.places = {  # by the number of the worker
            worker: Place(fetched, ended, pickle.dumps(tuple(own)))
            for worker, fetched, ended, own in state.get("places", [])
        }
        self.after: dict[int, Place] = {}  # where those are that have come to their end
        self.workers = workers
        has_begun = any(place.fetched for place in self.places.values())
        self.skip: int = 0 if has_begun else state.get("done", 0)  # batches to be loaded again to reach the start
        self.last: int = state.get("turn", 0) - 1 if has_begun else -1  # who gave the batch yielded last; -1: none did
        # Of the batches so far of a dataset that cannot say where it is, those that are loaded again included.
        self.digest = 0
        self.is_left = False  # whether the epoch before was left, so that where the stream begins is not what it says
        self.draws = False  # whether the dataset's state leaves out what it has drawn
        self._saved_digest: int | None = state.get("digest")
        self._saved_done: int = state.get("done", 0)

    @property
    def turn(self) -> int:
        return (self.last + 1) % max(self.workers, 1)

    def take(self, shipped: Shipped) -> None:
        """Note a batch that is yielded now, or that a worker has no more."""
        if shipped.place is not None:
            self.places[shipped.worker] = shipped.place
        if shipped.after is not None:
            self.after[shipped.worker] = shipped.after
        self.draws = self.draws or shipped.draws
        if shipped.samples:
            self.last = shipped.worker
            self.is_left = self.is_left and sum(place.fetched > 0 for place in self.places.values()) < self.workers

    def see(self, batch: Any) -> None:
        """Note a batch of a dataset that cannot say where it is."""
        self.digest = zlib.crc32(outline(batch), self.digest) or 1

    def require_same(self) -> None:
        """Refuse to go on where the batches that were loaded again are not those that were seen before."""
        if self._saved_digest not in (None, self.digest):
            raise mismatch(
                "the stream does not repeat the batches that it gave before the state was saved",
                f"digest {self._saved_digest:#x} of {self._saved_done} batches",
                f"{self.digest:#x}",
                "Let it draw from random, numpy.random, torch or sample_rng(), give it a set_epoch() that decides its "
                "order, or state_dict() and load_state_dict(). The loader's set_epoch() begins an epoch anew.",
            )
