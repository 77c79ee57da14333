"""The trace file: `TraceWriter` writes it as a run goes, `TraceReader` reads it again, a segment at a time."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from ...errors import TraceError
from ...ground.source import JSON
from . import payloads
from .chunks import MAGIC, ChunkHead, ChunkReader, ChunkWriter, CutError, StrPath
from .model import Segment, Site, Step, TraceLevel

DIGESTS_AT_ONCE = 128  # segments without records that share a chunk
SECONDS = 1.0  # since the last chunk, after which they are written with the next segment, however few they are

SHARED_KNOWN = 128
"""Numbers that segments share, those used last, of which a writer knows where they are, and of which a reader has an
eighth in memory; others are written and read again. It bounds the memory where no two steps are alike."""

_SITES_AT_ONCE = 256


class TraceWriter:
    """Writes a trace, as a context manager; replaces a file that is there.

    Each segment is with the operating system when `write` returns, so a process that is killed leaves a trace that can
    be read. Segments without records, as the level "digest" has, wait for each other: 128 of them, or a second. After
    an exception nothing more is written, for a trace with a hole would lie. In a forked child `write` and `close` do
    nothing: the trace is its parent's. Not thread-safe.

    The header is what the reader shall know first: JSON, with a "level" of `TRACE_LEVELS`. A TraceError on entering
    says that it is none, or that the operating system refuses.
    """

    def __init__(self, path: StrPath, header: Mapping[str, JSON]) -> None:
        self._path = path
        self._header = header

    def __enter__(self) -> TraceWriter:
        with self._refusing():
            payloads.level_of(self._header)
            header = payloads.pack_json(dict(self._header))
        self._shared: dict[bytes, int] = {}  # where numbers are, by digest, the last used last
        self._waiting: list[Segment] = []
        self._pid = os.getpid()
        self._file = ChunkWriter(self._path)
        self._append((payloads.HEADER, header))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_ours() and not self._file.closed:
            with self._closing_on_failure():
                self._append()
        self._file.close()

    def write(self, segment: Segment, new_sites: Sequence[Site] = ()) -> None:
        """Append a segment, and before it the sites that no earlier one had.

        Its records are indexes of sites, counted from 0 in the order in which they were written. A TraceError says that
        the file cannot hold it, or that the operating system refuses, or did before.
        """
        if self._is_ours():
            with self._closing_on_failure():
                for first in range(0, len(new_sites), _SITES_AT_ONCE):
                    self._append((payloads.SITES, payloads.pack_sites(new_sites[first : first + _SITES_AT_ONCE])))
                self._write_segment(segment)

    def close(self, footer: Mapping[str, JSON]) -> None:
        """Write what the reader shall know last, JSON, without which a trace is not finished; raises as `write`."""
        if self._is_ours():
            with self._closing_on_failure():
                self._append((payloads.END, payloads.pack_json(dict(footer))))
        self._file.close()

    def _write_segment(self, segment: Segment) -> None:
        if not len(segment.records) + len(segment.hashes) and segment.digest == segment.values_digest:
            self._waiting.append(segment)
            if len(self._waiting) >= DIGESTS_AT_ONCE or monotonic() - self._written >= SECONDS:
                self._append()
            return
        distinct, repeats = payloads.without_repeats(np.asarray(segment.hashes, payloads.U64))
        records = np.asarray(segment.records, payloads.U32)
        step = payloads.pack_step(segment, self._share(records), self._share(repeats), len(distinct))
        self._append((payloads.STEP, step), (payloads.HASHES, distinct.tobytes()))

    def _share(self, numbers: np.ndarray) -> int:
        """Return where these numbers are in the file; they are written now if they are not there."""
        plain = numbers.tobytes()
        digest = blake2b(plain, digest_size=16).digest()
        offset = self._shared.pop(digest, None)
        if offset is None:
            offset = self._append((payloads.NUMBERS, payloads.pack_numbers(plain)))
        _remember(self._shared, digest, offset, SHARED_KNOWN)
        return offset

    def _append(self, *chunks: tuple[bytes, bytes]) -> int:
        """Append chunks after the segments that wait, and return the offset of the first."""
        waiting, self._waiting = self._waiting, []  # first, so that an interrupt never has them written twice
        if waiting:
            self._file.append((payloads.DIGESTS, payloads.pack_digests(waiting)))
        self._written = monotonic()
        return self._file.append(*chunks)

    def _is_ours(self) -> bool:
        return os.getpid() == self._pid

    @contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        if self._file.closed:
            values = ("found: it was closed, or writing to it failed before", "expected: a trace that is open")
            raise TraceError(f"nothing more can be written to {self._path}", values, "Begin another trace.")
        try:
            with self._refusing():
                yield
        except BaseException:
            if not self._file.closed:
                with suppress(TraceError):  # the first error is the one to tell
                    self._append()
                self._file.close()
            raise

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except TraceError:
            raise
        except (ValueError, OverflowError, IndexError, struct.error) as error:
            values = (f"found: {error}", "expected: what deterministic.trace.file.model describes")
            remedy = "Write what the model describes; the trace holds what was written before."
            raise TraceError(f"the trace {self._path} cannot hold this", values, remedy) from error


class Entry(NamedTuple):
    """A segment without its records, as `TraceReader.steps` finds it: its step and digests, and where the rest is."""

    step: Step
    digest: bytes
    values_digest: bytes
    records: int = 0  # where in the file
    repeats: int = 0  # of hashes, where
    hashes: ChunkHead | None = None  # the distinct ones; None where there are no records


class TraceReader:
    """Reads a trace, as a context manager, also one that is still written or larger than memory.

    Several iterators may be under way at once, and each begins at the beginning. Where the file is damaged they raise
    `TraceError`, after they gave what comes before; so does entering. Not thread-safe.
    """

    header: dict[str, Any]  # what was known at the beginning
    level: TraceLevel  # the header's
    sites: list[Site]  # those found so far; an iterator has found all that its segments use
    footer: dict[str, Any] | None  # what was known at the end; None until an iterator has come there, and if unfinished
    truncated: bool  # whether the last iterator that came to the end of the file found a chunk there that is not whole

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
        self._value_counts = np.empty(0, np.intp)  # of each site
        self._shared: dict[int, np.ndarray] = {}  # numbers by where they are, the last used last
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
        """Return a segment that `steps` of this reader gave; a TraceError says that it is damaged."""
        if entry.hashes is None:
            return Segment(*entry[:3])
        with self._checking(entry.hashes):
            records, repeats = self._numbers(entry.records), self._numbers(entry.repeats)
            length = self._value_counts[records].sum()
            if length != len(repeats):
                raise ValueError(f"{len(repeats)} hashes for records that have {length}")
            distinct = np.frombuffer(self._file.payload(entry.hashes), payloads.U64)
            return Segment(*entry[:3], records, payloads.with_repeats(distinct, repeats))

    def _read(self, head: ChunkHead) -> tuple[int, list[Entry]]:
        """Return where the next chunk begins that is to be read, and the segments that this one has."""
        with self._checking(head):
            payload = self._file.payload(head)
            if head.tag == payloads.STEP:
                *entry, length = payloads.unpack_step(payload)
                hashes = self._hashes(head, length)
                return hashes.end, [Entry._make([*entry, hashes])]
            if head.tag == payloads.DIGESTS:
                return head.end, [Entry(*segment[:3]) for segment in payloads.unpack_digests(payload)]
            self._read_other(head, payload)
        return head.end, []

    def _read_other(self, head: ChunkHead, payload: bytes) -> None:
        """Read a chunk that has no segments."""
        if head.tag == payloads.SITES:
            if head.offset >= self._known:  # else another iterator has read it
                sites = payloads.unpack_sites(payload)
                self.sites += sites
                counts = np.array([len(site.values) for site in sites], np.intp)
                self._value_counts = np.append(self._value_counts, counts)
        elif head.tag == payloads.END:
            if not self._file.ends_at(head.end):
                raise ValueError("a footer with something behind it")
            self.footer = payloads.unpack_mapping(payload)
        elif head.tag != payloads.NUMBERS:  # which are read again when a segment has them
            raise ValueError("a chunk that is unknown, or in the wrong place")

    def _hashes(self, head: ChunkHead, length: int) -> ChunkHead:
        """Return the chunk after `head`, whose length nothing else vouches for as long as it is not read."""
        hashes = self._file.head(head.end)
        if hashes is None:
            raise self._file.cut(head.offset)
        with self._checking(hashes):
            if hashes.tag != payloads.HASHES or hashes.length != 8 * length:
                raise ValueError(f"{hashes.length} bytes where {length} hashes should be")
        return hashes

    def _numbers(self, offset: int) -> np.ndarray:
        """Return the numbers that a segment shares with others."""
        numbers = self._shared.pop(offset, None)
        if numbers is None:
            head = self._file.head(offset) if offset < self._known else None
            if head is None:
                raise ValueError(f"shared numbers at byte {offset}")
            numbers = payloads.unpack_numbers(self._payload(head, payloads.NUMBERS))
        _remember(self._shared, offset, numbers, SHARED_KNOWN // 8)
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


def _remember(known: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Put in what was used last, where what was used first makes room for it."""
    if len(known) >= most:
        del known[next(iter(known))]
    known[key] = value
