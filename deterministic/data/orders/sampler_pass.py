"""One pass of a user's sampler: its indices, batch by batch, under the epoch's own stream."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..samples.isolation import OwnStream
from ..samples.keys import index_number


class Pass:
    """The batches of one `iter(sampler)`: their indices, and how often it gave each before (None: none of them).

    Attributes:
        batches: How many were taken.
        indices: How many indices were in them.
        digest: 32 bits that depend on all of those.
        is_empty: Whether there is no first batch; it is asked for at once.
    """

    def __init__(self, sampler: Iterable[Any], key: int, *, is_batched: bool, counts: bool) -> None:
        self._stream = OwnStream(key)
        self._is_batched = is_batched
        self._seen: dict[int, int] | None = {} if counts else None
        self.batches = self.indices = self.digest = 0
        with self._stream:
            self._iterator = iter(sampler)
        self._ahead = self._ask()
        self.is_empty = not self._ahead

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> tuple[Any, list[int] | None]:
        ahead, self._ahead = self._ahead or self._ask(), []
        if not ahead:
            raise StopIteration
        self.batches += 1
        self.indices += len(ahead[0])
        self.digest = digest(self.digest, ahead[0])
        return ahead[0], None if self._seen is None else _count(ahead[0], self._seen)

    def agrees(self, done: int, digest: int) -> bool:
        """Go on to where so many batches were taken, and return whether they have this digest."""
        for _ in islice(self, max(done - self.batches, 0)):
            pass
        return (self.batches, self.digest) == (done, digest)

    def _ask(self) -> list[Any]:
        with self._stream:
            try:
                given = next(self._iterator)  # a for loop would call iter() once more, which may mean another pass
            except StopIteration:
                return []
            return [_as_batch(given) if self._is_batched else [given]]


def _as_batch(given: Any) -> Any:
    """Return a batch of indices as the batch sampler gave it, if a part of it can be taken by position."""
    return given if isinstance(given, (list, tuple, np.ndarray, torch.Tensor)) else list(given)


def digest(before: int, indices: Any) -> int:
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
        before = seen.get(number, 0)
        seen[number] = before + 1
        occurrences.append(before)
    return occurrences if any(occurrences) else None
