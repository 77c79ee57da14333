"""Values of records, kept as they are: to measure how far apart two runs are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import torch

from ...values.bits import Unreadable, kind_of, row_of_values, undispatched
from ...values.distance import Elements, elements_of

MOST = 64 << 20  # bytes of all values that are kept because they may be asked for
LARGEST = 4 << 20  # bytes of the largest one of these

FOLLOWS = ("optimizer", "state", "later state", "parameter", "gradient", "optimizer state")
"""Phases and kinds of which hardly any value is the first that differs, and which are large: kept if asked for."""

Key = tuple[int, int, int]


class Kept:
    """Values of the running segment, copied as they come by.

    Args:
        only: A record's number and a value's: that one alone. None: what tensors hold that records are of or operations
            gave, but for `FOLLOWS`, in the order in which they were, as far as `LARGEST` and `MOST` let them.
    """

    def __init__(self, only: tuple[int, int] | None = None) -> None:
        self.only = only
        self.segment: int | None = None  # the running one, if its values are to be kept
        self.records = sys.maxsize  # of one segment, before
        self.on_full: Callable[[], None] = lambda: None  # is called
        self._copies: dict[Key, torch.Tensor] = {}
        self._left = MOST

    def wants(self, record: int) -> bool:
        """Return whether this is the one record that a value is to be kept of."""
        return self.only is not None and self.segment is not None and record == self.only[0] and not self._copies

    def offer(self, record: int, tensors: Sequence[torch.Tensor | None], of: str = "") -> None:
        """Take what is wanted of a record, of a phase or a kind."""
        if self.only is not None:
            value = self.only[1] if self.wants(record) else len(tensors)
            self._take(record, value, tensors[value] if value < len(tensors) else None)
        elif self.segment is not None and of not in FOLLOWS:
            for value, tensor in enumerate(tensors):
                if tensor is not None and kind_of(tensor) == "strided" and not tensor.is_meta:
                    size = tensor.numel() * tensor.element_size()
                    if size <= min(LARGEST, self._left):
                        self._left -= size
                        self._take(record, value, tensor)
            if record >= self.records:
                self.on_full()

    def set_aside(self, start: int) -> None:
        """Leave to the next segment the records of this one from there on."""
        copies = self._copies.items()
        self._copies = {
            (s + 1, r - start, v) if s == self.segment and r >= start else (s, r, v): copy for (s, r, v), copy in copies
        }

    def _take(self, record: int, value: int, tensor: torch.Tensor | None) -> None:
        if tensor is not None and self.segment is not None:
            # What is inside a function transform cannot be read when that is over, nor now.
            with undispatched(), suppress(Unreadable):
                if (row := row_of_values(tensor)) is not None:
                    self._copies[self.segment, record, value] = row.detach().clone()

    def __iter__(self) -> Iterator[tuple[Key, Elements]]:
        """Yield each value, with the segment, the record and the number that it has there."""
        for key, tensor in self._copies.items():
            if (elements := elements_of(tensor)) is not None:
                yield key, elements
