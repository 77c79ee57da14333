"""The order of a user's sampler or batch sampler: theirs, with nothing accidental in it, and resumed by its indices."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, Dataset, RandomSampler, SequentialSampler

from ..errors import DeterministicError, ResumeMismatchError, explain
from ..sources.own_generators import OwnGenerator
from .fetch import Fetch
from .isolation import OwnStream
from .keying import LoaderSeed
from .keys import epoch_key, index_number
from .position import Position, Progress

_DEPTH = 4
"""How deep generators are looked for inside a sampler: a batch sampler, its sampler, what that holds, a list there."""

_GLOBAL = (torch.default_generator, random.random.__self__, np.random.mtrand._rand)  # type: ignore[attr-defined]


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
        progress.memory = memory = _Memory(self._generator_states(), self._own_state(), position)
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
            indices = list(given) if self._is_batched else [given]
            memory.digest = digest(memory.digest, indices)
            occurrences = None if seen is None else _count(indices, seen)
            number += 1
            if number == position.done:
                _require_same(memory.digest, position)
            if number > position.done:
                memory.ahead.append(memory.digest)
                yield Fetch(indices, key, occurrences)

    def identity(self) -> dict[str, Any]:
        length = len(self._indices) if isinstance(self._indices, Sized) else None
        return {"order": self.name, "length": length, "batch": self._batch_size, "drop_last": self._drop_last}

    def state(self, progress: Progress | None) -> dict[str, Any]:
        if progress is None or progress.memory is None:
            generators, own, done, reached = self._generator_states(), self._own_state(), 0, 0
            if progress is not None:  # begun, and no batch asked for: what it was loaded from is what it still is
                return _kept(progress.start) or {"done": 0, "digest": 0, "generators": generators, "sampler": own}
        else:
            memory: _Memory = progress.memory
            done = progress.start.done + progress.yielded
            generators, own, reached = memory.generators, memory.own, memory.after(progress.yielded)
        return {"done": done, "digest": reached, "generators": generators, "sampler": own}

    def require_fit(self, position: Position) -> None:
        """Nothing: the ranks are the sampler's business."""

    def position(self, state: Mapping[str, Any]) -> Position:
        here = [type(generator).__name__ for generator in self._generators()]
        saved = [name for name, _ in state["generators"]]
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
        generators, own = self._generator_states(), self._own_state()
        try:
            fetches = self.fetches(Progress(position))
            return [fetch for fetch, _ in zip(fetches, range(count), strict=False)]
        finally:
            self._put_back(generators, own)

    def _begin(self, position: Position) -> None:
        if position.state is not None:
            self._put_back(position.state["generators"], position.state["sampler"])
        parts: dict[int, Any] = {id(one): one for one in (self._sampler, self._indices)}
        for sampler in parts.values():
            if callable(getattr(sampler, "set_epoch", None)):
                sampler.set_epoch(position.epoch)

    def _put_back(self, generators: list[Any], own: Any) -> None:
        for place, (generator, (_, state)) in enumerate(zip(self._generators(), generators, strict=True)):
            source = OwnGenerator(generator, place)
            source.restore(source.decode(_unpacked(state)))
        if own is not None:
            self._stateful().load_state_dict(own)

    def _generator_states(self) -> list[Any]:
        sources = [OwnGenerator(generator, place) for place, generator in enumerate(self._generators())]
        return [[type(source.generator).__name__, _packed(source.encode(source.capture()))] for source in sources]

    def _generators(self) -> list[Any]:
        return list(_generators_in(self._sampler, _DEPTH, set()))

    def _stateful(self) -> Any:
        return next((one for one in (self._sampler, self._indices) if _is_stateful(one)), None)

    def _own_state(self) -> Any:
        import copy

        stateful = self._stateful()
        return None if stateful is None else copy.deepcopy(stateful.state_dict())


class _Memory:
    """What an epoch of a sampler leaves for the state: how it began, and which indices it has given so far."""

    def __init__(self, generators: list[Any], own: Any, position: Position) -> None:
        self.generators = generators
        self.own = own
        self.digest = 0
        self.ahead: deque[int] = deque()
        self._dropped = 0
        self._last = 0 if position.state is None else position.state["digest"]

    def after(self, yielded: int) -> int:
        """Return the digest of all indices up to the batch that was yielded last; forget those before it."""
        while self._dropped < yielded:
            self._last = self.ahead.popleft()
            self._dropped += 1
        return self._last


def digest(before: int, indices: list[Any]) -> int:
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


def _count(indices: list[Any], seen: dict[int, int]) -> list[int] | None:
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


def _generators_in(value: Any, depth: int, visited: set[int]) -> Iterator[Any]:
    if depth < 0 or id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)):
        if not isinstance(value, random.SystemRandom) and all(value is not one for one in _GLOBAL):
            yield value
        return
    inside: Iterable[Any] = ()
    if isinstance(value, (list, tuple)):
        inside = value[:100]  # generators in a list are few; a list of a million indices is not looked through
    elif isinstance(value, dict):
        inside = list(value.values())[:100]
    elif not isinstance(value, (Dataset, torch.Tensor, np.ndarray)) and hasattr(value, "__dict__"):
        inside = [one for name, one in vars(value).items() if name not in ("data_source", "dataset")]
    for one in inside:
        yield from _generators_in(one, depth - 1, visited)


def _is_stateful(sampler: Any) -> bool:
    return callable(getattr(sampler, "state_dict", None)) and callable(getattr(sampler, "load_state_dict", None))


def _packed(plain: Any) -> Any:
    """Return a generator's encoded state with a tensor as text, so that a state is JSON."""
    return base64.b64encode(plain.numpy().tobytes()).decode() if isinstance(plain, torch.Tensor) else plain


def _unpacked(plain: Any) -> Any:
    if isinstance(plain, str):
        return torch.from_numpy(np.frombuffer(base64.b64decode(plain), dtype=np.uint8).copy())
    return plain


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
