from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from deterministic.trace.file import store
from deterministic.trace.file.chunks import MAGIC
from deterministic.trace.file.model import Segment, Site, Step
from deterministic.trace.file.store import TraceReader, TraceWriter

from .traces import (
    HEADER,
    SETTINGS,
    SITES,
    SMALL,
    A,
    B,
    Write,
    any_writes,
    digest_only,
    plain,
    read_trace,
    segments_of,
    sites_of,
    write_trace,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@SETTINGS
@given(writes=any_writes())
def test_what_was_written_is_read(folder: Path, writes: list[Write]) -> None:
    path = folder / "a.trace"
    write_trace(path, writes, {"steps": 3})
    assert read_trace(path) == (HEADER, sites_of(writes), segments_of(writes), {"steps": 3}, False, "")
    with TraceReader(path) as trace:
        entries = list(trace.steps())
        assert [entry[:3] for entry in entries] == [segment[:3] for segment, _ in writes]
        assert [plain(trace.segment_at(entry)) for entry in reversed(entries)] == segments_of(writes)[::-1]


def test_a_trace_is_read_a_chunk_at_a_time(folder: Path) -> None:
    draws = random.Random(0)
    records = [0] * 20_000
    writes = [
        (Segment(Step(0, count), A, B, records, [draws.getrandbits(64) for _ in records]), () if count else SITES)
        for count in range(100)
    ]
    write_trace(folder / "a", writes, {})
    assert (folder / "a").stat().st_size > 2**23
    tracemalloc.start()
    try:
        with TraceReader(folder / "a") as trace:
            assert sum(1 for _ in trace.segments()) == 100
            assert tracemalloc.get_traced_memory()[1] < 2**21
            tracemalloc.reset_peak()
            assert sum(1 for _ in trace.steps()) == 100
            assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_records_and_hashes_are_arrays(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL[:1])
    with TraceReader(tmp_path / "a") as trace:
        (segment,) = trace.segments()
    assert isinstance(segment.records, np.ndarray)
    assert isinstance(segment.hashes, np.ndarray)
    assert (segment.records.dtype.str, segment.hashes.dtype.str) == ("<u4", "<u8")


def test_a_trace_that_was_not_closed_is_not_finished(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL)
    assert read_trace(tmp_path / "a") == (HEADER, SITES, segments_of(SMALL), None, False, "")


def test_a_trace_of_which_the_end_was_cut_off_is_truncated(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL, {})
    os.truncate(tmp_path / "a", (tmp_path / "a").stat().st_size - 1)
    assert read_trace(tmp_path / "a") == (HEADER, SITES, segments_of(SMALL), None, True, "")


def test_truncated_and_footer_are_known_at_the_end(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL, {"steps": 4})
    with TraceReader(tmp_path / "a") as trace:
        for _ in trace.segments():
            assert trace.footer is None
        assert (trace.footer, trace.truncated) == ({"steps": 4}, False)


def test_two_iterators_do_not_disturb_each_other(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL, {})
    with TraceReader(tmp_path / "a") as trace:
        late = trace.segments()
        for one, other in zip(trace.segments(), trace.segments(), strict=True):
            assert plain(one) == plain(other)
        assert [plain(segment) for segment in late] == segments_of(SMALL)
        assert trace.sites == SITES


def test_a_trace_is_read_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "monotonic", lambda: 0.0)
    with TraceWriter(tmp_path / "a", HEADER) as trace, TraceReader(tmp_path / "a") as reader:
        for place, (segment, new_sites) in enumerate(SMALL):
            trace.write(segment, new_sites)
            found = [plain(segment) for segment in reader.segments()]
            waiting = {1: 1, 2: 2}.get(place, 0)
            assert found == segments_of(SMALL)[: place + 1 - waiting]
            assert not reader.truncated
        trace.close({})
        assert len(list(reader.steps())) == len(SMALL)
        assert reader.footer == {}


def test_a_reader_and_a_writer_can_be_used_again(tmp_path: Path) -> None:
    trace, reader = TraceWriter(tmp_path / "a", HEADER), TraceReader(tmp_path / "a")
    for _ in range(2):
        with trace:
            for segment, new_sites in SMALL:
                trace.write(segment, new_sites)
        with reader:
            assert [plain(segment) for segment in reader.segments()] == segments_of(SMALL)
            assert reader.sites == SITES


def test_the_file_begins_with_the_magic_and_the_header(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", [])
    data = (tmp_path / "a").read_bytes()
    assert data.startswith(MAGIC + b"HEAD")
    assert data.endswith(b'{"level":"ops","versions":{"torch":"2.13.0"}}')


def test_a_site_may_be_anything_that_text_can_be(tmp_path: Path) -> None:
    odd = Site("operation", "\ud800", "\x00", "a\nb", '"', "\\", "é", "\U0001f600", "", "x" * 10_000, "\x00", "\ud800")
    write_trace(tmp_path / "a", [(digest_only(0), [odd])])
    assert read_trace(tmp_path / "a").sites == [odd]
