"""Files that are cut, changed or made up: what is read is true as far as it goes, and nothing but `TraceError` comes.

`DETERMINISTIC_EXAMPLES=20000 pytest tests/trace/test_file_fuzz.py` tries that many of each, and every value of a byte.
"""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic.errors import TraceError
from deterministic.trace.file import chunks, payloads
from deterministic.trace.file.chunks import MAGIC
from deterministic.trace.file.model import Segment, Step
from deterministic.trace.file.store import TraceReader

from ..properties import ASKED_FOR
from .traces import (
    SETTINGS,
    SITES,
    SMALL,
    A,
    B,
    Content,
    Write,
    any_writes,
    read_trace,
    segments_of,
    write_trace,
)

FLIPS = range(1, 256) if ASKED_FOR else [1, 2, 4, 8, 16, 32, 64, 128]
HEAD = json.dumps({"level": "ops"}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def small(folder: Path) -> bytes:
    write_trace(folder / "small", SMALL, {"steps": 4})
    return (folder / "small").read_bytes()


def read_bytes(path: Path, data: bytes | bytearray) -> Content:
    path.write_bytes(data)
    return read_trace(path)


def index(path: Path) -> tuple[list[tuple[object, ...]], bool]:
    """Read the steps alone; return them with their digests, and whether all of them were found."""
    found: list[tuple[object, ...]] = []
    try:
        with TraceReader(path) as trace:
            found.extend(entry[:3] for entry in trace.steps())
            return found, trace.footer is not None and not trace.truncated
    except TraceError:
        return found, False


def is_true(found: Content, whole: Content) -> bool:
    """Return whether all that was found is so, and what is missing is reported."""
    if not found.error and found.footer is not None:
        return found == whole
    return (
        found.header in (None, whole.header)
        and found.sites == whole.sites[: len(found.sites)]
        and found.segments == whole.segments[: len(found.segments)]
        and found.footer is None
    )


def test_a_file_that_is_cut_anywhere_is_read_up_to_its_last_whole_chunk(folder: Path, small: bytes) -> None:
    whole = read_bytes(folder / "a", small)
    ends = set(ends_of_chunks(small))
    found = []
    for size in range(len(small)):
        content = read_bytes(folder / "a", small[:size])
        assert is_true(content, whole)
        assert content.truncated == (size not in ends) or content.error
        assert bool(content.error) == (size < min(ends))
        assert index(folder / "a")[0] == [segment[:3] for segment in content.segments]
        found.append(len(content.segments))
    assert found == sorted(found)
    assert found[-1] == len(SMALL)


def ends_of_chunks(data: bytes) -> Iterator[int]:
    """Yield where a file may end: a step without its hashes is none of these places."""
    offset = len(MAGIC)
    while offset < len(data):
        tag, length = struct.unpack_from("<4sI", data, offset)
        offset += 12 + length
        if tag != b"STEP":
            yield offset


@pytest.mark.slow
def test_a_changed_byte_never_changes_what_is_read_without_an_error(folder: Path, small: bytes) -> None:
    whole = read_bytes(folder / "a", small)
    for place in range(len(small)):
        for flip in FLIPS:
            changed = bytearray(small)
            changed[place] ^= flip
            assert is_true(read_bytes(folder / "a", changed), whole), (place, flip)


def test_a_changed_byte_never_changes_the_steps_without_an_error(folder: Path, small: bytes) -> None:
    (folder / "a").write_bytes(small)
    whole, _ = index(folder / "a")
    for place in range(len(small)):
        changed = bytearray(small)
        changed[place] ^= 1 << place % 8
        (folder / "a").write_bytes(changed)
        found, complete = index(folder / "a")
        assert found == whole[: len(found)]
        assert not complete or found == whole


@SETTINGS
@given(writes=any_writes(), data=st.data())
def test_any_trace_that_is_changed_in_many_places_is_noticed(
    folder: Path, writes: list[Write], data: st.DataObject
) -> None:
    write_trace(folder / "a", writes, {})
    whole = read_trace(folder / "a")
    changed = bytearray((folder / "a").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        first = data.draw(st.integers(0, len(changed)))
        last = data.draw(st.integers(first, min(len(changed), first + 20)))
        changed[first:last] = data.draw(st.binary(max_size=20))
    assert is_true(read_bytes(folder / "a", changed), whole)


@SETTINGS
@given(data=st.binary(max_size=200))
def test_any_bytes_are_no_trace(folder: Path, data: bytes) -> None:
    assert read_bytes(folder / "a", data).error
    content = read_bytes(folder / "a", MAGIC + data)
    assert content.error or content.truncated


def chunk(tag: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sII", tag, len(payload), zlib.crc32(tag + payload)) + payload


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)
TEXT = JSON.map(lambda data: json.dumps(data).encode())
NUMBERS = st.integers(0, 200) | st.integers(0, 2**64 - 1)
LENGTH = st.integers(0, 9) | st.integers(0, 2**32 - 1)
STEPS = st.tuples(st.integers(-3, 3), NUMBERS, st.integers(0, 3), NUMBERS, NUMBERS, LENGTH)
PAYLOAD = (
    st.binary(max_size=80)
    | TEXT
    | (TEXT | st.binary(max_size=64)).map(zlib.compress)
    | STEPS.map(lambda x: struct.pack("<iQI16s16sQQI", *x[:3], A, B, *x[3:]))
    | st.lists(st.integers(0, 5), max_size=4).map(lambda x: zlib.compress(struct.pack(f"<{len(x)}I", *x)))
    | st.just(payloads.pack_sites(SITES))
    | st.just(payloads.pack_digests([Segment(Step(0, 0), A, A)]))
)
TAG = st.sampled_from([b"HEAD", b"SITE", b"NUMS", b"STEP", b"HASH", b"DIGS", b"END ", b"ELSE"])


@SETTINGS
@given(made_up=st.lists(st.tuples(TAG, PAYLOAD), max_size=8))
def test_any_chunks_are_read_or_refused(folder: Path, made_up: list[tuple[bytes, bytes]]) -> None:
    content = read_bytes(folder / "a", MAGIC + chunk(b"HEAD", HEAD) + b"".join(chunk(*one) for one in made_up))
    for segment in content.segments:
        assert len(segment.hashes) == sum(len(content.sites[record].values) for record in segment.records)
    index(folder / "a")


START = MAGIC + chunk(b"HEAD", HEAD)
WITH_SITES = START + chunk(b"SITE", payloads.pack_sites(SITES))


def numbers(*them: int) -> bytes:
    return chunk(b"NUMS", payloads.pack_numbers(struct.pack(f"<{len(them)}I", *them)))


RECORDS = numbers(0, 2)
WITH_RECORDS = WITH_SITES + RECORDS
AT, BEHIND = len(WITH_SITES), len(WITH_RECORDS)


def step(records: int, repeats: int, length: int, hashes: bytes, tag: bytes = b"HASH") -> bytes:
    return chunk(b"STEP", payloads.pack_step(Segment(Step(0, 0), A, B), records, repeats, length)) + chunk(tag, hashes)


def repeating(*repeats: int, length: int) -> bytes:
    """A trace with one segment, of records that have three hashes."""
    return (
        WITH_RECORDS + numbers(*repeats) + step(AT, BEHIND, length, struct.pack(f"<{length}Q", *range(7, 7 + length)))
    )


def test_what_the_next_test_makes_up_is_a_trace_when_nothing_is_wrong(folder: Path) -> None:
    content = read_bytes(folder / "a", repeating(0, 0, 2, length=2) + chunk(b"END ", b"{}"))
    assert content == Content({"level": "ops"}, SITES, [Segment(Step(0, 0), A, B, [0, 2], [7, 8, 7])], {}, False, "")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (MAGIC + chunk(b"HEAD", b"[]"), "JSON with a list where names and values should be"),
        (MAGIC + chunk(b"HEAD", b"{}"), "a header with the level None"),
        (MAGIC + chunk(b"HEAD", b"{"), "Expecting property name"),
        (MAGIC + chunk(b"HEAD", b"[" * 10**6), "JSON that is nested too deep"),
        (MAGIC + chunk(b"SITE", b"{}"), "a chunk b'SITE' where b'HEAD' should be"),
        (START + chunk(b"HEAD", HEAD), "a chunk that is unknown, or in the wrong place"),
        (START + chunk(b"HASH", b""), "a chunk that is unknown, or in the wrong place"),
        (START + chunk(b"ELSE", b""), "a chunk that is unknown, or in the wrong place"),
        (START + chunk(b"END ", b"[]"), "JSON with a list where names and values should be"),
        (START + chunk(b"END ", b"{}") + b"x", "a footer with something behind it"),
        (START + chunk(b"END ", b"{}") * 2, "a footer with something behind it"),
        (START + chunk(b"SITE", b"[]"), "what zlib refuses"),
        (START + RECORDS + step(len(START), len(START), 3, bytes(24)), "index 0 is out of bounds"),
        (repeating(0, 0, length=2), "2 hashes for records that have 3"),
        (repeating(length=0), "0 hashes for records that have 3"),
        (repeating(0, 0, 0, length=2), "2 hashes for 3 places with other repeats"),
        (repeating(0, 0, 1, length=3), "3 hashes for 3 places with other repeats"),
        (repeating(1, 0, 0, length=2), "2 hashes for 3 places with other repeats"),
        (repeating(0, 0, 3, length=2), "2 hashes for 3 places with other repeats"),
        (repeating(0, 1, 1, length=1), "1 hashes for 3 places with other repeats"),
        (repeating(0, 0, 2**32 - 1, length=2), "2 hashes for 3 places with other repeats"),
        (WITH_RECORDS + step(AT, AT, 3, bytes(16)), "16 bytes where 3 hashes should be"),
        (WITH_RECORDS + step(AT, AT, 3, bytes(24), b"ELSE"), "24 bytes where 3 hashes should be"),
        (WITH_RECORDS + step(AT + 1, AT, 3, bytes(24)), ""),
        (WITH_RECORDS + step(len(START), AT, 3, bytes(24)), "a chunk b'SITE' where b'NUMS' should be"),
        (WITH_RECORDS + step(2**64 - 1, AT, 3, bytes(24)), "shared numbers at byte 18446744073709551615"),
        (WITH_SITES + step(AT + 80 + 36, AT, 3, bytes(24)) + RECORDS, "shared numbers at byte"),
        (WITH_RECORDS + chunk(b"STEP", b""), "0 bytes where"),
        (WITH_RECORDS + chunk(b"DIGS", b""), "0 bytes where 4 should be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_chunk_is_said(data: bytes, found: str, folder: Path) -> None:
    content = read_bytes(folder / "a", data)
    assert "is damaged at byte" in content.error
    assert f"found: {found}" in content.error
    assert not content.segments
    assert content.footer is None


@pytest.mark.parametrize("tag", [b"SITE", b"NUMS", b"END "])
def test_little_is_allocated_for_a_chunk_that_is_large_inside(tag: bytes, folder: Path) -> None:
    (folder / "a").write_bytes(WITH_SITES + chunk(tag, zlib.compress(b" " * 2**27, 1)) + step(AT, AT, 0, b""))
    tracemalloc.start()
    try:
        content = read_trace(folder / "a")
        assert content.error
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_the_steps_are_read_without_the_hashes(folder: Path, small: bytes) -> None:
    place = small.index(b"HASH") + 12
    changed = bytearray(small)
    changed[place] ^= 1
    (folder / "a").write_bytes(changed)
    with TraceReader(folder / "a") as trace:
        entries = list(trace.steps())
        assert [entry[:3] for entry in entries] == [segment[:3] for segment in segments_of(SMALL)]
        with pytest.raises(TraceError, match=f"is damaged at byte {place - 12}"):
            trace.segment_at(entries[0])


def without_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_crc", lambda tag, payload: 0)


def test_these_tests_notice_a_reader_that_checks_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checksum(monkeypatch)
    write_trace(folder / "b", SMALL, {"steps": 4})
    with pytest.raises(AssertionError):
        test_a_changed_byte_never_changes_what_is_read_without_an_error(folder, (folder / "b").read_bytes())
