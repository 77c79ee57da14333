"""The way of header, sites and segments into a trace file."""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from time import monotonic

from ...errors import TraceError, explain
from . import payloads
from .chunks import ChunkWriter, StrPath
from .model import Segment, Site
from .payloads import JSON
from .repeats import count_of_values, without_repeats

DIGESTS_AT_ONCE = 128
"""Segments without records that share a chunk."""

SECONDS = 1.0
"""Since the last chunk, after which they are written with the next segment, however few they are."""

SHARED_KNOWN = 128
"""Numbers that segments share, those used last; others are written again. It bounds the memory of a run in which no two
steps are alike."""

_SITES_AT_ONCE = 256


class TraceWriter:
    """Writes a trace, as a context manager; replaces a file that is there.

    Each segment is with the operating system when `write` returns, so a process that is killed leaves a trace that can
    be read. Segments without records, as the level "digest" has, wait for each other: 128 of them, or a second. After
    an exception nothing more is written, for a trace with a hole would lie. In a forked child `write` and `close` do
    nothing: the trace is its parent's. Not thread-safe.

    Args:
        path: Where to.
        header: What the reader shall know first: JSON, with a "level" of `LEVELS`.

    Raises:
        TraceError: The header is none, or the operating system refuses; on entering.
    """

    def __init__(self, path: StrPath, header: Mapping[str, JSON]) -> None:
        self._path = path
        self._header = header

    def __enter__(self) -> TraceWriter:
        with self._refusing():
            payloads.level_of(self._header)
            header = payloads.pack_mapping(self._header)
        self._value_counts = array("I")  # of each site
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

        Args:
            segment: Its records are indexes of sites, counted from 0 in the order in which they were written.
            new_sites: Those that follow the ones written so far.

        Raises:
            TraceError: It is no segment, the operating system refuses, or it did before.
        """
        if self._is_ours():
            with self._closing_on_failure():
                self._write_sites(new_sites)
                self._write_segment(segment)

    def close(self, footer: Mapping[str, JSON]) -> None:
        """Write the footer, without which a trace is not finished.

        Args:
            footer: What the reader shall know last: JSON.

        Raises:
            TraceError: The footer is none, the operating system refuses, or it did before.
        """
        if self._is_ours():
            with self._closing_on_failure():
                self._append((payloads.END, payloads.pack_mapping(footer)))
        self._file.close()

    def _write_sites(self, sites: Sequence[Site]) -> None:
        for first in range(0, len(sites), _SITES_AT_ONCE):
            some = sites[first : first + _SITES_AT_ONCE]
            self._append((payloads.SITES, payloads.pack_sites(some)))
            self._value_counts.extend(len(site.values) for site in some)

    def _write_segment(self, segment: Segment) -> None:
        payloads.check_segment(segment)
        if not len(segment.records) + len(segment.hashes) and segment.digest == segment.values_digest:
            self._waiting.append(segment)
            if len(self._waiting) >= DIGESTS_AT_ONCE or monotonic() - self._written >= SECONDS:
                self._append()
            return
        records = array("I", segment.records)
        length = count_of_values(records, self._value_counts)
        if len(segment.hashes) != length:
            raise ValueError(f"{len(segment.hashes)} hashes for records that have {length}")
        distinct, repeats = without_repeats(segment.hashes)
        recorded = payloads.Recorded(*segment[:3], self._share(records), self._share(repeats), len(distinct))
        hashes = payloads.pack_words(distinct)
        self._append((payloads.STEP, payloads.pack_step(recorded)), (payloads.HASHES, hashes))

    def _share(self, numbers: array[int]) -> int:
        """Return where these numbers are in the file; they are written now if they are not there."""
        plain = payloads.pack_words(numbers)
        digest = blake2b(plain, digest_size=16).digest()
        offset = self._shared.pop(digest, None)
        if offset is None:
            offset = self._append((payloads.NUMBERS, payloads.pack_numbers(plain)))
            if len(self._shared) >= SHARED_KNOWN:
                del self._shared[next(iter(self._shared))]
        self._shared[digest] = offset
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
            raise TraceError(explain(f"the trace {self._path} takes nothing more", values, "Begin another trace."))
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
            raise TraceError(explain(f"the trace {self._path} cannot hold this", values, remedy)) from error
