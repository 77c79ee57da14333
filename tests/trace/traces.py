"""Traces for the tests: what is written into one, and what is read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from deterministic.errors import TraceError
from deterministic.ground.source import JSON
from deterministic.trace.file.model import Line, Segment, Site, Step, Value
from deterministic.trace.file.store import TraceReader, TraceWriter

SETTINGS = settings(deadline=5000)

HEADER: Mapping[str, JSON] = {"level": "ops", "versions": {"torch": "2.13.0"}}

Write = tuple[Segment, Sequence[Site]]


class Content(NamedTuple):
    """All that could be read, and the error that ended it."""

    header: dict[str, Any] | None
    sites: list[Site]
    segments: list[Segment]
    footer: dict[str, Any] | None
    truncated: bool
    error: str


def site(name: str, *values: Value) -> Site:
    return Site("operation", name, "forward", "b.3", "Linear", "GPT", "models.py:17", "forward", values=values)


def digest_only(count: int, *, optimizer: int = 0) -> Segment:
    digest = count.to_bytes(8, "big") * 2
    return Segment(Step(optimizer, count), digest, digest)


OUTPUT = Value("output", "float32[2]")
SITES = [site("aten.mm", OUTPUT), site("aten.none"), site("aten.split", OUTPUT, OUTPUT)]
A, B = bytes(range(16)), bytes(range(16, 32))

SMALL: list[Write] = [
    (Segment(Step(0, 0), A, B, [0, 1, 0], [1, 2**64 - 1]), SITES[:2]),
    (digest_only(1), ()),
    (digest_only(2), ()),
    (Segment(Step(0, 1), B, A, [2, 0], [3, 4, 5]), SITES[2:]),
    (Segment(Step(0, 2), B, B, [0, 1, 0], [6, 7]), ()),
    (Segment(Step(-1, 3, 1), A, B), ()),
]
"""A few of everything."""


def write_trace(path: Path, writes: Sequence[Write], footer: dict[str, Any] | None = None, level: str = "ops") -> None:
    with TraceWriter(path, {**HEADER, "level": level}) as trace:
        for segment, new_sites in writes:
            trace.write(segment, new_sites)
        if footer is not None:
            trace.close(footer)


def read_trace(path: Path) -> Content:
    """Read all there is; whatever is in the file, nothing but `TraceError` is raised, which is caught."""
    segments: list[Segment] = []
    trace = TraceReader(path)
    try:
        with trace:
            segments.extend(plain(segment) for segment in trace.segments())
    except TraceError as error:
        header = getattr(trace, "header", None)
        return Content(header, getattr(trace, "sites", []), segments, None, False, str(error))
    return Content(trace.header, trace.sites, segments, trace.footer, trace.truncated, "")


def plain(segment: Segment) -> Segment:
    """Return a segment that can be compared with any other."""
    return segment._replace(records=[*map(int, segment.records)], hashes=[*map(int, segment.hashes)])


def segments_of(writes: Sequence[Write]) -> list[Segment]:
    return [plain(segment) for segment, _ in writes]


def sites_of(writes: Sequence[Write]) -> list[Site]:
    return [site for _, new_sites in writes for site in new_sites]


TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too, as there are in paths
VALUE = st.builds(Value, st.sampled_from(["generator", "number", "input", "output"]), TEXT, TEXT, TEXT)
VALUES = st.lists(VALUE, max_size=3).map(tuple)
CALLERS = st.lists(st.builds(Line, TEXT, TEXT, TEXT, st.booleans()), max_size=2).map(tuple)
SITE = st.builds(Site, st.sampled_from(["operation", "module"]), *[TEXT] * 11, CALLERS, VALUES)
STEP = st.builds(Step, st.integers(-1, 2**31 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
DIGEST: st.SearchStrategy[bytes] = st.binary(min_size=16, max_size=16)


@st.composite
def any_writes(draw: st.DrawFn) -> list[Write]:
    """Segments with and without records, and the new sites that they come with."""
    known: list[Site] = []
    writes: list[Write] = []
    for _ in range(draw(st.integers(0, 6))):
        digest = draw(DIGEST)
        new: list[Site] = draw(st.lists(SITE, max_size=3))
        known += new
        records: list[int] = []
        if draw(st.booleans()) and known:
            records = draw(st.lists(st.integers(0, len(known) - 1), max_size=6))
        length = sum(len(known[record].values) for record in records)
        hashes = draw(st.lists(st.integers(0, 2**64 - 1), min_size=length, max_size=length))
        values_digest = digest if draw(st.booleans()) else draw(DIGEST)
        writes.append((Segment(draw(STEP), digest, values_digest, records, hashes), new))
    return writes
