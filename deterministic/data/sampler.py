"""The order of a user's sampler or batch sampler: theirs, with nothing accidental in it, and resumed by its indices."""

from __future__ import annotations

import copy
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, SequentialSampler

from ..errors import DeterministicError, ResumeMismatchError, explain
from .dataset_epoch import note, users_epoch
from .fetch import Fetch
from .generators import generator_states, restore_generators
from .isolation import OwnStream
from .keying import LoaderSeed
from .keys import epoch_key, index_number
from .position import Position, Progress


class SamplerOrder:
    """The indices that a user's sampler gives, in its order.

    What it draws from the global generators comes from (seed, epoch), not from where they are. Generators that it
    holds, and what it says of itself with `state_dict()`, are noted when an epoch begins; a resume puts them back and
    lets the sampler give the indices again, without loading what they stand for, and compares them with the saved ones.

    Args:
        sampler: A sampler of indices, or a batch sampler.
        is_batched: Whether it gives lists of indices.
        seed: The loader's.
        drop_last: Only to be compared on resume; the batch sampler does it.
        batch_size: Also only compared.
    """

    fields: ClassVar[dict[str, type]] = {"digest": int, "generators": list, "sampler": object}

    def __init__(
        self, sampler: Iterable[Any], seed: LoaderSeed, *, is_batched: bool, batch_size: int | None, drop_last: bool
    ) -> None:
        self._sampler = sampler
        self._seed = seed
        self._is_batched = is_batched
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._indices: Any = sampler.sampler if type(sampler) is BatchSampler else sampler
        self.name = type(self._indices).__name__

    def __len__(self) -> int:
        return len(self._sampler)  # type: ignore[arg-type]  # a sampler without a length raises the TypeError it should

    def fetches(self, progress: Progress) -> Iterator[Fetch]:
        position = progress.start
        self._begin(position)
        progress.memory = memory = SamplerMemory(self._where(), position, self._put_back)
        stream = OwnStream(epoch_key(self._seed.value, position.epoch, "sampler"))
        key = epoch_key(self._seed.value, position.epoch, "samples")
        seen: dict[int, int] | None = None if _gives_each_once(self._indices) else {}
        with stream:
            iterator = iter(self._sampler)
        number = 0
        while True:
            with stream:
                try:
                    given = next(iterator)
                except StopIteration:
                    _require_reached(number, position)
                    return
            indices = _as_batch(given) if self._is_batched else [given]
            memory.digest = digest(memory.digest, indices)
            occurrences = None if seen is None else _count(indices, seen)
            number += 1
            if number == position.done:
                _require_same(memory.digest, position)
            if number > position.done:
                memory.ahead.append(memory.digest)
                progress.taken += 1
                yield Fetch(indices, key, position.epoch, occurrences)

    def identity(self) -> dict[str, Any]:
        length = len(self._indices) if isinstance(self._indices, Sized) else None
        return {"order": self.name, "length": length, "batch": self._batch_size, "drop_last": self._drop_last}

    def state(self, progress: Progress | None) -> dict[str, Any]:
        if progress is None:
            return {"done": 0, "digest": 0, **self._where()}
        if progress.memory is None:  # begun, and no batch asked for: it still is where it was loaded from
            return _kept(progress.start) or {"done": 0, "digest": 0, **self._where()}
        memory: SamplerMemory = progress.memory
        done = progress.start.done + progress.yielded
        return {"done": done, "digest": memory.forget(progress.yielded), **memory.where}

    def require_fit(self, position: Position) -> None:
        """Nothing: the ranks are the sampler's business."""

    def position(self, state: Mapping[str, Any]) -> Position:
        here = [name for name, _ in generator_states(self._sampler)]
        saved = [entry[0] for entry in state["generators"]]
        if here != saved:
            raise ResumeMismatchError(
                explain(
                    "the sampler has other generators than the saved one",
                    (f"saved: {saved}", f"here: {here}"),
                    "Make it with the same generator= as when the state was saved.",
                )
            )
        if (state["sampler"] is None) != (self._own_state() is None):
            raise ResumeMismatchError(
                explain(
                    "only one of the saved sampler and this one has a state_dict()",
                    (f"saved: {state['sampler'] is not None}", f"here: {self._own_state() is not None}"),
                    "Use the sampler that the state was saved with.",
                )
            )
        return Position(state["epoch"], state["done"], state)

    def look(self, position: Position, count: int) -> list[Fetch]:
        """Return the first fetches from `position` on, and leave the sampler where it is."""
        where, epochs = self._where(), [sampler.epoch for sampler in self._told_epochs()]
        try:
            return list(islice(self.fetches(Progress(position)), count))
        finally:
            self._put_back(where)
            for sampler, epoch in zip(self._told_epochs(), epochs, strict=True):
                _tell(sampler, epoch)

    def leave(self, progress: Progress) -> None:
        """Bring the sampler to where it would be if nobody had fetched ahead of an epoch that was left."""
        memory: SamplerMemory | None = progress.memory
        if memory is not None and not progress.superseded:
            memory.undo()
            for _ in islice(self.fetches(Progress(progress.start)), progress.yielded):
                pass  # the sampler gives what was yielded once more, and moves on by it

    def users_epoch(self) -> int | None:
        """Return the epoch that the user has set on a DistributedSampler since a loader did; None if they have not.

        Other samplers move their epoch themselves (Accelerate's does, at the end of each), so theirs says nothing.
        """
        return users_epoch(self._told_epochs())

    def _begin(self, position: Position) -> None:
        if position.state is not None:
            self._put_back(position.state)
        for sampler in self._parts():
            if callable(getattr(sampler, "set_epoch", None)):
                _tell(sampler, position.epoch)

    def _where(self) -> dict[str, Any]:
        """Return what the sampler's next pass depends on, as far as it shows."""
        return {"generators": generator_states(self._sampler), "sampler": self._own_state()}

    def _put_back(self, where: Mapping[str, Any]) -> None:
        restore_generators(self._sampler, where["generators"])
        if where["sampler"] is not None:
            self._stateful().load_state_dict(copy.deepcopy(where["sampler"]))

    def _parts(self) -> list[Any]:
        return [self._sampler] if self._indices is self._sampler else [self._sampler, self._indices]

    def _told_epochs(self) -> list[Any]:
        return [one for one in self._parts() if isinstance(one, DistributedSampler)]

    def _stateful(self) -> Any:
        return next((one for one in self._parts() if _is_stateful(one)), None)

    def _own_state(self) -> Any:
        stateful = self._stateful()
        return None if stateful is None else copy.deepcopy(stateful.state_dict())


class SamplerMemory:
    """What an epoch of a sampler leaves for the state: how it began, and which indices it has given so far.

    Attributes:
        where: What the sampler's pass began with.
        digest: Of the indices of all batches fetched.
        ahead: Of those up to each batch that was fetched and not yielded.
    """

    def __init__(self, where: dict[str, Any], position: Position, put_back: Callable[[dict[str, Any]], None]) -> None:
        self.where = where
        self.digest = 0
        self.ahead: deque[int] = deque()
        self._put_back = put_back
        self._forgotten = 0
        self._last = 0 if position.state is None else position.state["digest"]

    def forget(self, yielded: int) -> int:
        """Return the digest of all indices up to the batch that was yielded last; forget those before it."""
        while self._forgotten < yielded and self.ahead:
            self._last = self.ahead.popleft()
            self._forgotten += 1
        return self._last

    def undo(self) -> None:
        """Put the sampler back to where its pass began."""
        self._put_back(self.where)


def _tell(sampler: Any, epoch: int) -> None:
    sampler.set_epoch(epoch)
    if isinstance(sampler, DistributedSampler):
        note(sampler, epoch)


def _as_batch(given: Any) -> Any:
    """Return a batch of indices as the batch sampler gave it, if a part of it can be taken by position."""
    return given if isinstance(given, (list, tuple, np.ndarray, torch.Tensor)) else list(given)


def digest(before: int, indices: Any) -> int:
    """Return 32 bits that depend on the indices given so far and on these."""
    try:
        data = struct.pack(f"<{len(indices)}q", *indices)
    except struct.error:  # not integers, or very large ones
        data = struct.pack(f"<{len(indices)}Q", *(index_number(index) % 2**64 for index in indices))
    return zlib.crc32(data, before)


def _kept(position: Position) -> dict[str, Any] | None:
    if position.state is None:
        return None
    return {name: position.state[name] for name in ("done", "digest", "generators", "sampler")}


def _count(indices: Any, seen: dict[int, int]) -> list[int] | None:
    """Return how often each index came before in this epoch, and count it; None if none of them did."""
    occurrences = []
    for index in indices:
        number = index if type(index) is int else index_number(index)
        before = seen.get(number, 0)
        seen[number] = before + 1
        occurrences.append(before)
    return occurrences if any(occurrences) else None


def _gives_each_once(sampler: Any) -> bool:
    """Return whether it is a sampler known to give no index twice, so that none need be counted."""
    if type(sampler) is RandomSampler:
        return not sampler.replacement and sampler.num_samples <= len(sampler.data_source)
    return type(sampler) is SequentialSampler


def _is_stateful(sampler: Any) -> bool:
    return callable(getattr(sampler, "state_dict", None)) and callable(getattr(sampler, "load_state_dict", None))


def _require_same(found: int, position: Position) -> None:
    if position.state is not None and position.state["digest"] != found:
        raise ResumeMismatchError(
            explain(
                "the sampler does not give the indices again that it gave before the state was saved",
                (f"saved: digest {position.state['digest']:#x} of {position.done} batches", f"here: {found:#x}"),
                "Let it draw from generators that it holds or from global ones, or give it state_dict() and "
                "load_state_dict() for what else its order depends on.",
            )
        )


def _require_reached(number: int, position: Position) -> None:
    if number < position.done:
        raise DeterministicError(
            explain(
                "the sampler gives fewer batches than the saved position is past",
                (f"saved: {position.done}", f"here: {number}"),
                "Use the sampler and the data that the state was saved with.",
            )
        )
