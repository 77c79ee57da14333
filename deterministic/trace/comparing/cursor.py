"""The way through a trace, one segment in memory at a time; and which records of two sequences are the same ones."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...values.numbers import hash_of_text
from ..file import payloads
from ..file.model import LOWEST_LEVEL, NO_OPTIMIZER, TRACE_LEVELS, Site, Step, TraceLevel, Value
from ..file.store import Entry, TraceReader
from .divergence import Moment, argument_of


class Group(NamedTuple):
    """The segments of one step: the last ends it, those before it were cut off because it grew too long."""

    step: Step  # of its last segment; its `part` is 0, but where the trace ends before the step does
    entries: tuple[Entry, ...]

    @property
    def ends_step(self) -> bool:
        return self.step.optimizer != NO_OPTIMIZER


def groups_of(reader: TraceReader) -> Iterator[Group]:
    """Yield the steps of a trace, and what follows the last one."""
    entries: list[Entry] = []
    for entry in reader.steps():
        entries.append(entry)
        if not entry.step.part:
            yield Group(entry.step, tuple(entries))
            entries = []
    if entries:
        yield Group(entries[-1].step, tuple(entries))


@dataclass(frozen=True)
class StepPart:
    """Those records of a segment that are compared."""

    sites: np.ndarray  # of each its site,
    keys: np.ndarray  # what two of them must agree in to be the same,
    texts: np.ndarray  # that and what stands in the line: it tells which are the same ones where one trace has more,
    starts: np.ndarray  # where its hashes begin,
    indexes: np.ndarray  # and which record of the segment it is
    hashes: np.ndarray  # those of the whole segment
    total: int  # how many records the segment has
    number: int  # which segment of its step it is


_EMPTY = np.empty(0, np.intp)
_NONE = StepPart(_EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY, 0, 0)


class Side:
    """One of two traces, which are compared at a level."""

    def __init__(self, reader: TraceReader, level: TraceLevel) -> None:
        self.reader = reader
        self._level = level
        self._is_read = False
        # Of each site: its key, that with its line, how many values it has, whether its records are compared.
        self._keys, self._texts, self._lengths, self._is_compared = array("Q"), array("Q"), array("I"), array("B")

    def overwritten(self, group: Group | None) -> frozenset[int]:
        """Return the records of a step of which something was written over before anything read it."""
        if group is None or len(group.entries) != 1:
            return frozenset()
        if not self._is_read:
            self._is_read = True
            deque(self.reader.steps(), maxlen=0)  # at the end it finds the footer
        noted = (self.reader.footer or {}).get("overwritten")
        records = noted.get(f"{group.step.optimizer} {group.step.number}") if isinstance(noted, dict) else None
        return frozenset(one for one in records if isinstance(one, int)) if isinstance(records, list) else frozenset()

    def part(self, entry: Entry, number: int) -> StepPart:
        segment = self.reader.segment_at(entry)
        self._know_sites()
        sites = np.asarray(segment.records, np.uint32)
        lengths = np.asarray(self._lengths, np.uint32)[sites]
        starts = np.cumsum(lengths, dtype=np.intp) - lengths
        indexes = np.flatnonzero(np.asarray(self._is_compared, np.uint8)[sites])
        sites = sites[indexes]
        keys, texts = (np.asarray(of_sites, np.uint64)[sites] for of_sites in (self._keys, self._texts))
        hashes = np.asarray(segment.hashes, np.uint64)
        return StepPart(sites, keys, texts, starts[indexes], indexes, hashes, len(segment.records), number)

    def values_digests(self, group: Group) -> list[bytes]:
        """Return the digests that a trace of the level "digest" would have of a step: it is cut at other places."""
        if len(group.entries) == 1 or self.reader.level == "digest":
            return [entry.values_digest for entry in group.entries]
        parts = [self.part(entry, 0) for entry in group.entries]
        keys = np.concatenate([part.keys for part in parts])
        hashes = [
            part.hashes[start : start + self._lengths[site]]
            for part in parts
            for site, start in zip(part.sites, part.starts, strict=True)
        ]
        none, longest = np.empty(0, np.uint64), payloads.LONGEST_SEGMENT
        return [
            payloads.digest_of(keys[start : start + longest], np.concatenate([none, *hashes[start:][:longest]]))
            for start in range(0, len(keys) + 1, longest)  # one that is just full is followed by an empty one
        ]

    def _know_sites(self) -> None:
        # The level "digest" is over those records that the level "values" has.
        level = max(TRACE_LEVELS.index(self._level), TRACE_LEVELS.index("values"))
        for site in self.reader.sites[len(self._keys) :]:
            self._keys.append(_comparable_key(site, self._level))
            at = "\0".join([site.text or site.place, site.module_class, site.root_class])
            self._texts.append(self._keys[-1] ^ hash_of_text(at))
            self._lengths.append(len(site.values))
            self._is_compared.append(TRACE_LEVELS.index(LOWEST_LEVEL.get(site.kind, "values")) <= level)


class Cursor:
    """Goes through the records of some segments of a step, the first of which is the one with `number`."""

    def __init__(self, side: Side, entries: Sequence[Entry], number: int = 0) -> None:
        self._side = side
        self._coming = enumerate(entries, number)
        self.part, self.at = _NONE, 0  # the segment that is in memory, and how many of its records have been passed
        self.total = 0  # how many records the last segment has that was in memory
        self.has_operations = False  # whether an operation was among the records so far
        self.optimizer = ""  # the class of the optimizer whose parameters were; empty if none were
        self.unread: frozenset[int] = frozenset()
        """The records of which something was written over before anything read it."""

    def left(self) -> int:
        """Return how many records of the segment in memory have not been passed; 0 at the end of the step."""
        while self.at == len(self.part.keys):
            self.part, self.at = _NONE, 0  # before the next one is loaded, so that only one is in memory
            number, entry = next(self._coming, (0, None))
            if entry is None:
                return 0
            self.part = self._side.part(entry, number)
            self.total = self.part.total
            for index in np.unique(self.part.sites):
                site = self._side.reader.sites[index]
                self.has_operations = self.has_operations or site.kind == "operation"
                self.optimizer = site.name if site.kind == "parameter" else self.optimizer
        return len(self.part.keys) - self.at

    def keys(self, count: int) -> np.ndarray:
        """Return the keys of the next records."""
        return self.part.keys[self.at : self.at + count]

    def texts(self, count: int) -> np.ndarray:
        """Return the keys of the next records that have their lines in them."""
        return self.part.texts[self.at : self.at + count]

    def site(self, ahead: int) -> Site:
        """Return the site of one of the next records."""
        site: Site = self._side.reader.sites[self.part.sites[self.at + ahead]]
        return site

    def moment(self, ahead: int = 0) -> Moment:
        """Return one of the next records."""
        part, at = self.part, self.at + ahead
        site = self.site(ahead)
        start = int(part.starts[at])
        hashes = part.hashes[start : start + len(site.values)].tolist()
        return Moment(site, hashes, int(part.indexes[at]), part.number)

    def pass_all(self) -> int:
        """Go to the end of the step, and return how many records were passed."""
        passed = 0
        while left := self.left():
            passed += left
            self.at += left
        return passed


def _comparable_key(site: Site, level: TraceLevel) -> int:
    """Return what two records must agree in to be the same.

    Which inputs were recorded depends on the level; where all were, the two must have read the same arguments. Their
    types are compared with their hashes.
    """
    values = [
        Value("input", "", argument_of(value)) if value.role == "input" else value
        for value in site.values
        if value.role != "input" or level == "ops+inputs"
    ]
    return site._replace(values=tuple(values)).key


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many keys two sequences of one length begin with alike."""
    unlike = np.flatnonzero(a != b)
    return int(unlike[0]) if len(unlike) else len(a)


def aligned(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which records of two sequences are the same ones, as `common_subsequence` does, by several kinds of keys.

    Those of the first kind stand first: the second kind tells of what the first leaves open.
    """
    in_a, in_b = common_subsequence(a[0], b[0])
    if len(a) == 1:
        return in_a, in_b
    pairs = [(in_a, in_b)]
    # What lies between two pairs, before the first and behind the last.
    ends = [np.concatenate([[-1], side, [len(keys[0])]]) for side, keys in ((in_a, a), (in_b, b))]
    gaps = zip(*(zip(end[:-1] + 1, end[1:], strict=True) for end in ends), strict=True)
    for (start_a, end_a), (start_b, end_b) in gaps:
        if start_a < end_a and start_b < end_b:
            more = aligned([keys[start_a:end_a] for keys in a[1:]], [keys[start_b:end_b] for keys in b[1:]])
            pairs.append((more[0] + start_a, more[1] + start_b))
    both = [np.sort(np.concatenate(side)).astype(np.intp) for side in zip(*pairs, strict=True)]
    return both[0], both[1]


def common_subsequence(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in each of two sequences of keys the longest sequence is that both have, its earliest occurrence.

    The time is quadratic, one row of the usual table at a time; what it is walked back by takes a bit for each pair.
    """
    above = np.zeros(len(b) + 1, np.int32)
    rows = []
    for key in a:
        row = above.copy()
        np.maximum(above[1:], above[:-1] + (b == key), out=row[1:])
        np.maximum.accumulate(row, out=row)
        rows.append(np.packbits(row > above))
        above = row
    pairs = []
    column = len(b)
    for index in range(len(a) - 1, -1, -1):
        grew = np.unpackbits(rows[index], count=len(b) + 1)
        if grew[column]:
            while grew[column - 1]:
                column -= 1
            column -= 1  # where a row begins to grow the two are alike
            pairs.append((index, column))
    positions = np.array(pairs[::-1], np.intp).reshape(-1, 2)
    return positions[:, 0], positions[:, 1]
