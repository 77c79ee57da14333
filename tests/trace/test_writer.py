from __future__ import annotations

import os
import random
from array import array
from pathlib import Path

import pytest

from deterministic.errors import DeterministicError, TraceError
from deterministic.ground.source import JSON
from deterministic.trace.file import payloads, store
from deterministic.trace.file.model import Segment, Step
from deterministic.trace.file.store import TraceReader, TraceWriter

from ..processes import run_python
from .traces import (
    HEADER,
    OUTPUT,
    SITES,
    SMALL,
    A,
    B,
    Write,
    digest_only,
    plain,
    read_trace,
    segments_of,
    site,
    write_trace,
)


def test_digests_share_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "monotonic", lambda: 0.0)
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        sizes = []
        for count in range(300):
            trace.write(digest_only(count))
            sizes.append((tmp_path / "a").stat().st_size)
    assert [place for place in range(1, 300) if sizes[place] != sizes[place - 1]] == [127, 255]
    assert read_trace(tmp_path / "a").segments == [plain(digest_only(count)) for count in range(300)]


def test_a_second_after_the_last_chunk_digests_wait_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(store, "monotonic", lambda: clock[-1])
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        found = []
        for count, now in enumerate([100.0, 100.9, 101.0, 101.5, 102.5, 103.5]):
            clock.append(now)
            trace.write(digest_only(count))
            found.append(len(read_trace(tmp_path / "a").segments))
    assert found == [0, 0, 3, 3, 5, 6]


@pytest.mark.parametrize("end", ["leave", "close", "raise"])
def test_digests_that_wait_are_written_at_the_end(end: str, tmp_path: Path) -> None:
    def write() -> None:
        with TraceWriter(tmp_path / "a", HEADER) as trace:
            trace.write(digest_only(0))
            if end == "close":
                trace.close({})
            if end == "raise":
                raise KeyError

    if end == "raise":
        with pytest.raises(KeyError):
            write()
    else:
        write()
    content = read_trace(tmp_path / "a")
    assert content.segments == [plain(digest_only(0))]
    assert content.footer == ({} if end == "close" else None)


def test_a_step_at_the_level_digest_takes_at_most_32_bytes(tmp_path: Path) -> None:
    draws = random.Random(0)
    with TraceWriter(tmp_path / "a", {"level": "digest"}) as trace:
        for count in range(1280):  # of two optimizers, as a GAN has
            digest = draws.randbytes(16)
            trace.write(Segment(Step(count % 2, count // 2), digest, digest))
    assert (tmp_path / "a").stat().st_size <= 1280 * 32


def test_a_step_at_the_level_ops_takes_at_most_16_kilobytes(tmp_path: Path) -> None:
    draws = random.Random(0)
    sites = [site(f"aten.op{place}", *[OUTPUT] * (3 if place < 318 else 2)) for place in range(825)]
    records = list(range(825))
    sizes = []
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        for count in range(3):
            hashes = array("Q", draws.randbytes(8 * 1968))
            trace.write(Segment(Step(0, count), draws.randbytes(16), A, records, hashes), sites if not count else ())
            sizes.append((tmp_path / "a").stat().st_size)
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] <= 16_000
    assert len(read_trace(tmp_path / "a").segments) == 3


def test_numbers_are_written_once_and_what_is_remembered_of_them_is_bounded(tmp_path: Path) -> None:
    programs = [[0] * count for count in range(1, 200)]
    writes: list[Write] = [
        (Segment(Step(0, count), A, B, records, [*range(len(records))]), SITES if not count else ())
        for count, records in enumerate([*programs, *programs[-10:], *programs[:10]])
    ]
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        for segment, new_sites in writes:
            trace.write(segment, new_sites)
        assert len(trace._shared) == store.SHARED_KNOWN
    with TraceReader(tmp_path / "a") as reader:
        assert [plain(segment) for segment in reader.segments()] == segments_of(writes)
        assert len(reader._shared) <= 16
    # A program of zeros alone is its own list of repeats.
    assert (tmp_path / "a").read_bytes().count(b"NUMS") == len(programs) + 10


def test_the_last_used_numbers_are_those_that_are_remembered(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        trace.write(Segment(Step(0, 0), A, B, [0], [1]), SITES)
        for count in range(1, 200):
            trace.write(Segment(Step(0, count), A, B, [1] * count, []))
            trace.write(Segment(Step(1, count), A, B, [0], [1]))
    assert (tmp_path / "a").read_bytes().count(b"NUMS") == 201


def test_many_sites_at_once_are_no_long_chunk(tmp_path: Path) -> None:
    sites = [site(f"aten.op{place}" + "x" * 10_000, SITES[0].values[0]) for place in range(1000)]
    write_trace(tmp_path / "a", [(Segment(Step(0, 0), A, B, [999], [1]), sites)])
    assert read_trace(tmp_path / "a").sites == sites


@pytest.mark.parametrize("step", [Step(2**31, 0), Step(0, -1), Step(0, 0, 2**32)])
def test_what_a_file_cannot_hold_is_refused_and_ends_the_trace(step: Step, tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        trace.write(*SMALL[0])
        trace.write(digest_only(1), SITES[2:])
        with pytest.raises(TraceError, match=r"cannot hold this\n  found: \S"):
            trace.write(Segment(step, A, B, [0], [1]))
        with pytest.raises(TraceError, match="nothing more can be written to"):
            trace.write(digest_only(2))
        with pytest.raises(TraceError, match="nothing more can be written to"):
            trace.close({})
    content = read_trace(tmp_path / "a")
    assert (content.segments, content.footer, content.error) == (segments_of(SMALL[:2]), None, "")


def test_a_closed_trace_takes_nothing_more(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        trace.close({"steps": 0})
        with pytest.raises(TraceError, match="nothing more can be written to"):
            trace.write(digest_only(0))
        with pytest.raises(TraceError, match="nothing more can be written to"):
            trace.close({})
    with pytest.raises(TraceError, match="nothing more can be written to"):
        trace.write(digest_only(0))
    assert read_trace(tmp_path / "a") == (HEADER, [], [], {"steps": 0}, False, "")


@pytest.mark.parametrize("header", [{}, {"level": "all"}, {"level": "ops", "loss": float("nan")}])
def test_a_header_that_is_none_is_refused_before_a_trace_that_is_there_is_lost(
    header: dict[str, JSON], tmp_path: Path
) -> None:
    write_trace(tmp_path / "a", SMALL)
    with pytest.raises(TraceError, match="cannot hold this"), TraceWriter(tmp_path / "a", header):
        pass
    assert len(read_trace(tmp_path / "a").segments) == len(SMALL)


def test_an_interrupted_write_ends_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(sites: object) -> bytes:
        raise KeyboardInterrupt

    with TraceWriter(tmp_path / "a", HEADER) as trace:
        trace.write(*SMALL[0])
        with monkeypatch.context() as patch:
            patch.setattr(payloads, "pack_sites", interrupt)
            with pytest.raises(KeyboardInterrupt):
                trace.write(*SMALL[3])
        with pytest.raises(TraceError, match="nothing more can be written to"):
            trace.write(*SMALL[3])
    assert read_trace(tmp_path / "a").segments == segments_of(SMALL[:1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this platform has no /dev/full")
def test_a_full_disk_is_an_error_that_says_so() -> None:
    with pytest.raises(DeterministicError, match="No space left on device"), TraceWriter("/dev/full", HEADER):
        pass


IN_ANOTHER_PROCESS = """
import os, signal, sys
from deterministic.errors import TraceError
from deterministic.trace.file.store import TraceWriter
from deterministic.trace.file.model import Segment, Site, Step, Value
site = Site("operation", "aten.mm", values=(Value("output", "float32[2]"),) * 100)
def write(trace, count):
    trace.write(Segment(Step(0, count), bytes(16), b"1" * 16, [0], [count] * 100), () if count else [site])
with TraceWriter(sys.argv[1], {"level": "ops"}) as trace:
"""


def written_elsewhere(path: Path, code: str) -> list[int]:
    """Run `code` as the body of a block with `trace` in a new process; return the steps that can be read then."""
    printed = run_python(IN_ANOTHER_PROCESS + code, str(path))
    assert printed == "done"
    content = read_trace(path)
    assert content.error == ""
    assert all(list(segment.hashes) == [segment.step.number] * 100 for segment in content.segments if segment.records)
    return [segment.step.number for segment in content.segments]


def test_a_disk_that_gets_full_leaves_what_was_written_before(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    code = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        for count in range(1000):
            write(trace, count)
    except TraceError as error:
        assert "File too large" in str(error), error
    try:
        write(trace, 0)
    except TraceError as error:
        assert "nothing more can be written to" in str(error)
        print("done")
"""
    found = written_elsewhere(tmp_path / "a", code)
    assert found == list(range(len(found)))
    assert len(found) > 15
    assert read_trace(tmp_path / "a").truncated


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_is_killed_leaves_what_it_wrote(end: str, tmp_path: Path) -> None:
    if "SIGKILL" in end and not hasattr(os, "fork"):
        pytest.skip("this platform has no SIGKILL")
    code = f"""
    if not hasattr(os, "fork") or not os.fork():
        trace._pid = os.getpid()
        for count in range(10):
            write(trace, count)
        print("done", flush=True)
        {end}
    os.wait()
    os._exit(0)
"""
    assert written_elsewhere(tmp_path / "a", code) == list(range(10))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    code = """
    digest = lambda count: Segment(Step(1, count), bytes(16), bytes(16))
    write(trace, 0)
    trace.write(digest(1))
    child = os.fork()
    if not child:
        write(trace, 7)
        for count in range(200):
            trace.write(digest(count))
        trace.close({})
        trace.__exit__(None, None, None)
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    trace.write(digest(2))
    write(trace, 3)
    trace.close({})
    print("done")
"""
    assert written_elsewhere(tmp_path / "a", code) == [0, 1, 2, 3]
