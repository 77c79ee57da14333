"""What a user's sampler is made of: one pass over its indices, and the generators that it holds."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ...sources.own_generators import GLOBAL, KINDS, OwnGenerator
from .isolation import OwnStream
from .keys import index_number

_DEPTH = 4
"""How deep generators are looked for inside a sampler: a batch sampler, its sampler, what that holds, a list there."""
_WIDTH = 100  # how many entries of a container are looked at: generators are few, and numbers that count passes
_OF_DATA = (Dataset, torch.Tensor, np.ndarray)


def generator_kinds(sampler: Any) -> list[str]:
    """Return the type of each generator that a sampler holds, in a fixed order."""
    return [type(source.generator).__name__ for source in _held(sampler)]


def generator_states(sampler: Any) -> list[Any]:
    """Return the type and the state of each generator that a sampler holds, in a fixed order, as JSON."""
    return [[type(source.generator).__name__, _packed(source.encode(source.capture()))] for source in _held(sampler)]


def restore_generators(sampler: Any, states: list[Any]) -> None:
    """Put each generator that a sampler holds where `generator_states` found it."""
    sources = _held(sampler)
    decoded = [source.decode(_unpacked(state)) for source, (_, state) in zip(sources, states, strict=True)]
    for source, state in zip(sources, decoded, strict=True):
        source.restore(state)


def _held(sampler: Any) -> list[OwnGenerator]:
    shown = shown_in(sampler, _DEPTH, _OF_DATA, ("data_source", "dataset"), any_key=True)
    own = [one for _, one in shown if isinstance(one, KINDS) and all(one is not other for other in GLOBAL)]
    return [OwnGenerator(generator, place) for place, generator in enumerate(own)]


def shown_in(
    value: Any, depth: int, opaque: tuple[type, ...], left_out: Collection[str] = (), *, any_key: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yield what an object shows in attributes and containers, by path, in order.

    That is numbers, generators, and Python's own iterators. Each object is looked at once, to this depth; not what is
    of an `opaque` type, or in the attributes left out. Of a dict those with keys that are text or integers, unless
    `any_key` counts.
    """
    visited: set[int] = set()

    def look(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
        if type(value) in (int, float):
            yield path, value
        if depth < 0 or id(value) in visited or isinstance(value, opaque):
            return
        visited.add(id(value))
        inside: Iterable[tuple[str, Any]] = ()
        if isinstance(value, KINDS) and not isinstance(value, random.SystemRandom):
            yield path, value
        elif isinstance(value, (list, tuple)):
            inside = [(f"[{place}]", one) for place, one in enumerate(value[:_WIDTH])]
        elif isinstance(value, dict):
            pairs = [pair for pair in islice(value.items(), _WIDTH) if any_key or type(pair[0]) in (str, int)]
            inside = [("[]" if any_key else f"[{key!r}]", one) for key, one in pairs]
        elif hasattr(value, "__dict__"):
            inside = [(f".{name}", one) for name, one in vars(value).items() if name not in left_out]
        elif hasattr(type(value), "__next__"):
            yield path, value
        for step, one in inside:
            yield from look(one, path + step, depth - 1)

    return look(value, "", depth)


def _packed(plain: Any) -> Any:
    return base64.b64encode(plain.numpy().tobytes()).decode() if isinstance(plain, torch.Tensor) else plain


def _unpacked(plain: Any) -> Any:
    return torch.tensor(list(base64.b64decode(plain)), dtype=torch.uint8) if isinstance(plain, str) else plain


class SamplerPass:
    """The batches of one `iter(sampler)`: their indices, and how often it gave each before (None: none of them)."""

    def __init__(self, sampler: Iterable[Any], key: int, *, is_batched: bool, counts: bool) -> None:
        self._stream = OwnStream(key)
        self._is_batched = is_batched
        self._seen: dict[int, int] | None = {} if counts else None
        self.batches = self.indices = 0  # how many were taken, and how many indices were in them
        self.digest = 0  # 32 bits that depend on all of those
        with self._stream:
            self._iterator = iter(sampler)
        self.ahead = self._ask()  # the batch that comes next, if it was asked for: the first is at once

    def __iter__(self) -> SamplerPass:
        return self

    def __next__(self) -> tuple[Any, list[int] | None]:
        batch, self.ahead = self._ask() if self.ahead is None else self.ahead, None
        if batch is None:
            raise StopIteration
        self.batches += 1
        self.indices += len(batch)
        self.digest = _digest(self.digest, batch)
        return batch, None if self._seen is None else _count(batch, self._seen)

    def agrees(self, done: int, digest: int) -> bool:
        """Go on to where so many batches were taken, and return whether they have this digest."""
        for _ in islice(self, max(done - self.batches, 0)):
            pass
        return (self.batches, self.digest) == (done, digest)

    def _ask(self) -> Any:
        """Return the next batch as the sampler gave it, if a part of it can be taken by position; None at the end."""
        with self._stream:
            try:
                item = next(self._iterator)  # a for loop would call iter() once more, which may mean another pass
            except StopIteration:
                return None
            if not self._is_batched:
                return [item]
            return item if isinstance(item, (list, tuple, np.ndarray, torch.Tensor)) else list(item)


def _digest(before: int, indices: Any) -> int:
    """Return 32 bits that depend on the indices given so far and on these."""
    try:
        data = struct.pack(f"<{len(indices)}q", *indices)
    except (struct.error, TypeError):  # not integers, or very large ones; arrays and tensors of several elements
        data = struct.pack(f"<{len(indices)}Q", *(index_number(index) % 2**64 for index in indices))
    return zlib.crc32(data, before)


def _count(indices: Any, seen: dict[int, int]) -> list[int] | None:
    """Return how often each index came before in this epoch, and count it; None if none of them did."""
    occurrences = []
    for index in indices:
        number = index if type(index) is int else index_number(index)
        occurrences.append(seen.get(number, 0))
        seen[number] = occurrences[-1] + 1
    return occurrences if any(occurrences) else None
