"""The records of the running segment, and their way into the file."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...values.hashes import Hash, collect
from ..file import payloads
from ..file.model import LOWEST_LEVEL, NO_OPTIMIZER, Segment, Site, Step, TraceLevel


class Writer(Protocol):
    """Where segments go."""

    def write(self, segment: Segment, new_sites: Sequence[Site]) -> None:
        """Write a segment and the sites that no earlier one had."""


class Log:
    """Collects records, and writes a segment when one ends.

    Records may come from several threads: autograd has one for each device. When the writer fails, what it raises is
    raised once, `failed` is true from then on, and nothing more is collected.
    """

    def __init__(self, writer: Writer, level: TraceLevel) -> None:
        self._writer = writer
        self._level = level
        self._indexes: dict[Site, int] = {}
        self._keys = array("Q")
        self._lengths = array("I")
        self._is_value = bytearray()
        self._new: list[Site] = []
        # One list of both: Ctrl-C may come between two of Python's instructions.
        self._records: list[tuple[int, Sequence[Hash]]] = []
        self._later: list[tuple[int, Sequence[Hash]]] = []
        self._steps = 0
        self.part = 0  # how many segments were cut off the running step because they grew too long
        self.total = 0  # how many records there were, in all segments
        self._lock = threading.RLock()
        self.failed = False

    def __len__(self) -> int:
        """Return how many records the running segment has."""
        return len(self._records)

    def site(self, site: Site) -> int:
        """Return the index of a site, a new one for a new site."""
        with self._lock:
            index = self._indexes.get(site)
            if index is None:
                index = self._indexes[site] = len(self._indexes)
                self._keys.append(site.key)
                self._lengths.append(len(site.values))
                self._is_value.append(LOWEST_LEVEL.get(site.kind, "values") == "values")
                self._new.append(site)
            return index

    def add(self, site: int, hashes: Sequence[Hash]) -> None:
        """Append a record: the index of its site, and a hash for each of the site's values."""
        if self.failed:
            return
        with self._lock:
            self._records.append((site, hashes))
            self.total += 1
            if len(self._records) >= payloads.LONGEST_SEGMENT:
                self.part += 1
                self._write(Step(NO_OPTIMIZER, self._steps, self.part))

    def set_aside(self, count: int) -> None:
        """Leave to the next segment all records but the first `count` of the whole trace."""
        with self._lock:
            start = max(0, count - self.total + len(self._records))
            self._records, self._later = self._records[:start], self._records[start:]

    def end_step(self, optimizer: int, count: int) -> None:
        """End the segment with a step of an optimizer."""
        with self._lock:
            self._write(Step(optimizer, count))
            self._records, self._later = self._later, []
            self._steps += 1
            self.part = 0

    def end(self) -> None:
        """Write what followed the last step."""
        with self._lock:
            self._write(Step(NO_OPTIMIZER, self._steps))

    def _write(self, step: Step) -> None:
        collected, self._records = self._records, []
        if self.failed:
            return
        records = array("I", [site for site, _ in collected])
        hashes = array("Q", collect([one for _, some in collected for one in some]))
        sites = np.frombuffer(records, np.uint32)
        keys, is_value = np.frombuffer(self._keys, np.uint64)[sites], np.frombuffer(self._is_value, np.bool_)[sites]
        plain = np.frombuffer(hashes, np.uint64)
        digest = values_digest = payloads.digest_of(keys, plain)
        if not is_value.all():
            lengths = np.frombuffer(self._lengths, np.uint32)[sites]
            values_digest = payloads.digest_of(keys[is_value], plain[np.repeat(is_value, lengths)])
        if self._level == "digest":
            records, hashes = array("I"), array("Q")
        new, self._new = ([], self._new) if self._level == "digest" else (self._new, [])
        try:
            self._writer.write(Segment(step, digest, values_digest, records, hashes), new)
        except BaseException:
            self.failed = True
            raise
