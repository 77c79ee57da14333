"""The trace file: `TraceWriter` writes it as a run goes, `TraceReader` reads it again, a segment at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ...errors import TraceError, explain
from . import payloads
from .chunks import MAGIC, ChunkHead, ChunkReader, CutError, StrPath
from .model import Level, Segment, Site, Step
from .repeats import count_of_values, with_repeats
from .writer import TraceWriter

__all__ = ["Entry", "TraceReader", "TraceWriter"]

RECORDS_A_BYTE = 16
"""Records and hashes of a trace, beyond the first `NUMBERS_LIMIT`: all may share few numbers, but seldom two have less
than one."""

SHARED_KNOWN = 16
"""Numbers that segments share, those used last; others are read again."""


class Entry(NamedTuple):
    """A segment without its records, as `TraceReader.steps` finds it.

    Attributes:
        step: Which.
        digest: 16 bytes over all of its records, and their sites.
        values_digest: 16 bytes over those records alone that the level "values" has.
        offset: Where in the file it is, for `TraceReader.segment_at`.
    """

    step: Step
    digest: bytes
    values_digest: bytes
    offset: int


class TraceReader:
    """Reads a trace, as a context manager, also one that is still written or larger than memory.

    Several iterators may be under way at once, and each begins at the beginning. Where the file is damaged they raise
    `TraceError`, after they gave what comes before. Not thread-safe.

    Args:
        path: Of the trace.

    Attributes:
        header: What was known at the beginning.
        level: The header's.
        sites: Those found so far; an iterator has found all that its segments use.
        footer: What was known at the end; None until an iterator has come there, and if the trace is not finished.
        truncated: Whether the last iterator that came to the end of the file found a chunk there that is not whole.

    Raises:
        TraceError: It is no trace, or damaged; on entering.
    """

    header: dict[str, Any]
    level: Level
    sites: list[Site]
    footer: dict[str, Any] | None
    truncated: bool

    def __init__(self, path: StrPath) -> None:
        self._path = path

    def __enter__(self) -> TraceReader:
        self._file = ChunkReader(self._path)
        try:
            head = self._file.head(len(MAGIC))
            if head is None:
                raise self._file.cut(len(MAGIC))
            with self._checking(head):
                self.header = payloads.unpack_mapping(self._payload(head, payloads.HEADER))
                self.level = payloads.level_of(self.header)
        except BaseException:
            self._file.close()
            raise
        self.sites, self.footer, self.truncated = [], None, False
        self._value_counts = array("I")  # of each site
        self._counted = self._count = 0  # up to which segment, and how many records and hashes
        self._shared: dict[int, array[int]] = {}  # numbers by where they are, the last used last
        self._start = self._known = head.end  # known: up to where the iterator that came farthest has read
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in the order of the file; equal `records` may be one array, not to be changed."""
        for entry in self.steps():
            yield self.segment_at(entry)

    def steps(self) -> Iterator[Entry]:
        """Yield what is known of the segments without reading their hashes, in the order of the file."""
        offset = self._start
        try:
            while (head := self._file.head(offset)) is not None:
                offset, entries = self._read(head)
                self._known = max(self._known, offset)
                yield from entries
        except CutError:
            self.truncated = True
        else:
            self.truncated = False

    def segment_at(self, entry: Entry) -> Segment:
        """Return one segment.

        Args:
            entry: What `steps` of this reader gave.

        Raises:
            TraceError: It is damaged, or of another trace.
        """
        head = self._file.head(entry.offset) if entry.offset < self._known else None
        if head is not None and head.tag == payloads.DIGESTS:
            return Segment(*entry[:3])
        if head is None or (recorded := self._recorded(head))[:3] != entry[:3]:
            values = (f"found: {entry}", "expected: what steps() of this reader gave")
            raise TraceError(explain(f"the trace {self._path} has no such entry", values, "Pass one of this trace."))
        hashes = self._hashes(head, recorded)
        with self._checking(head):
            records, repeats = self._numbers(recorded.records), self._numbers(recorded.repeats)
            if head.offset > self._counted:
                self._counted, self._count = head.offset, self._count + len(records) + len(repeats)
            if self._count > payloads.NUMBERS_LIMIT + RECORDS_A_BYTE * head.end:
                raise ValueError(f"{self._count:,} records and hashes up to here, {RECORDS_A_BYTE} a byte at most")
            length = count_of_values(records, self._value_counts)
            if length != len(repeats):
                raise ValueError(f"{len(repeats)} hashes for records that have {length}")
            distinct = payloads.unpack_words("Q", self._file.payload(hashes))
            return Segment(*entry[:3], records, with_repeats(distinct, repeats))

    def _read(self, head: ChunkHead) -> tuple[int, list[Entry]]:
        """Return where the next chunk begins that is to be read, and the segments that this one has."""
        if head.tag == payloads.STEP:
            recorded = self._recorded(head)
            return self._hashes(head, recorded).end, [Entry(*recorded[:3], head.offset)]
        with self._checking(head):
            payload = self._file.payload(head)
            if head.tag == payloads.DIGESTS:
                return head.end, [Entry(*segment[:3], head.offset) for segment in payloads.unpack_digests(payload)]
            self._read_other(head, payload)
        return head.end, []

    def _read_other(self, head: ChunkHead, payload: bytes) -> None:
        """Read a chunk that has no segments."""
        if head.tag == payloads.SITES:
            if head.offset >= self._known:  # else another iterator has read it
                sites = payloads.unpack_sites(payload)
                self.sites += sites
                self._value_counts.extend(len(site.values) for site in sites)
        elif head.tag == payloads.END:
            if not self._file.ends_at(head.end):
                raise ValueError("a footer with something behind it")
            self.footer = payloads.unpack_mapping(payload)
        elif head.tag != payloads.NUMBERS:  # which are read again when a segment has them
            raise ValueError("a chunk that is unknown, or in the wrong place")

    def _recorded(self, head: ChunkHead) -> payloads.Recorded:
        with self._checking(head):
            return payloads.unpack_step(self._payload(head, payloads.STEP))

    def _hashes(self, head: ChunkHead, recorded: payloads.Recorded) -> ChunkHead:
        """Return the chunk after `head`, whose length nothing else vouches for as long as it is not read."""
        hashes = self._file.head(head.end)
        if hashes is None:
            raise self._file.cut(head.offset)
        with self._checking(hashes):
            if hashes.tag != payloads.HASHES or hashes.length != 8 * recorded.length:
                raise ValueError(f"{hashes.length} bytes where {recorded.length} hashes should be")
        return hashes

    def _numbers(self, offset: int) -> array[int]:
        """Return the numbers that a segment shares with others."""
        numbers = self._shared.pop(offset, None)
        if numbers is None:
            head = self._file.head(offset) if offset < self._known else None
            if head is None:
                raise ValueError(f"shared numbers at byte {offset}")
            numbers = payloads.unpack_numbers(self._payload(head, payloads.NUMBERS))
            if len(self._shared) >= SHARED_KNOWN:
                del self._shared[next(iter(self._shared))]
        self._shared[offset] = numbers
        return numbers

    def _payload(self, head: ChunkHead, tag: bytes) -> bytes:
        payload = self._file.payload(head)
        if head.tag != tag:
            raise ValueError(f"a chunk {head.tag!r} where {tag!r} should be")
        return payload

    @contextmanager
    def _checking(self, head: ChunkHead) -> Iterator[None]:
        """Say where the damage is that the functions of `payloads` find."""
        try:
            yield
        except TraceError:
            raise
        except (ValueError, IndexError) as error:
            raise self._file.damaged(head.offset, str(error), f"what a chunk {head.tag!r} contains") from error
