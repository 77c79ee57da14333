from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from deterministic.errors import DeterministicError, TraceError
from deterministic.trace.file import chunks
from deterministic.trace.file.chunks import MAGIC, ChunkReader, ChunkWriter, CutError

CHUNKS = [(b"HEAD", b"{}"), (b"NONE", b""), (b"LONG", bytes(10_000)), (b"LAST", b"\x00\xff\r\n\x1a")]


def write_chunks(path: Path) -> list[int]:
    writer = ChunkWriter(path)
    offsets = [writer.append(chunk) for chunk in CHUNKS]
    writer.close()
    return offsets


def read_chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """Read all chunks; whether the file is cut is told by `CutError`."""
    reader = ChunkReader(path)
    found = []
    try:
        offset = len(MAGIC)
        while (head := reader.head(offset)) is not None:
            found.append((head.tag, reader.payload(head)))
            offset = head.end
        assert reader.ends_at(offset)
    finally:
        reader.close()
    return found


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    offsets = write_chunks(tmp_path / "a")
    assert read_chunks(tmp_path / "a") == CHUNKS
    reader = ChunkReader(tmp_path / "a")
    heads = [reader.head(offset) for offset in offsets]
    reader.close()
    assert [head and head.tag for head in heads] == [tag for tag, _ in CHUNKS]


def test_the_bytes_are_those_of_the_documentation(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "a")
    writer.append((b"ABCD", b"payload"))
    writer.close()
    expected = b"\x89DTR\r\n\x1a\x02" + b"ABCD" + struct.pack("<II", 7, zlib.crc32(b"ABCDpayload")) + b"payload"
    assert (tmp_path / "a").read_bytes() == expected


def test_a_chunk_is_in_the_file_as_soon_as_it_is_appended_and_may_be_read_then(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "a")
    reader = ChunkReader(tmp_path / "a")
    offset = len(MAGIC)
    for tag, payload in CHUNKS:
        assert reader.head(offset) is None
        writer.append((tag, payload))
        head = reader.head(offset)
        assert head is not None
        assert reader.payload(head) == payload
        offset = head.end
        assert writer.offset == offset == (tmp_path / "a").stat().st_size
    reader.close()
    writer.close()


def test_chunks_that_are_appended_together_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    class Counted(io.FileIO):
        def write(self, data: Any) -> int:
            written.append(len(data))
            return super().write(data)

    monkeypatch.setattr(chunks, "open", lambda path, *_, **__: Counted(path, "w"), raising=False)
    writer = ChunkWriter(tmp_path / "a")
    writer.append((b"ABCD", b"1"), (b"EFGH", b"22"))
    writer.close()
    assert written == [8, 12 + 1 + 12 + 2]


def test_what_the_operating_system_takes_in_parts_is_written_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:100])

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "open", lambda path, *_, **__: Slow(path, "w"), raising=False)
        write_chunks(tmp_path / "a")
    assert read_chunks(tmp_path / "a") == CHUNKS


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_follows_a_chunk_that_was_written_in_part(
    interruption: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.FileIO):
        def write(self, data: Any) -> int:
            if len(data) == 12 + 5:
                return super().write(bytes(data)[:6])
            if len(data) == 12 + 5 - 6:
                raise interruption
            return super().write(data)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "open", lambda path, *_, **__: Interrupted(path, "w"), raising=False)
        writer = ChunkWriter(tmp_path / "a")
    writer.append((b"ABCD", b"1"))
    with pytest.raises((KeyboardInterrupt, TraceError)):
        writer.append((b"EFGH", b"22222"))
    assert writer.closed
    with pytest.raises(ValueError):
        writer.append((b"IJKL", b"333"))
    with pytest.raises(CutError, match="was cut\n  found: 27 bytes\n  expected: more, for what begins at byte 21"):
        read_chunks(tmp_path / "a")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this platform has no /dev/full")
def test_a_full_disk_is_an_error_that_says_so() -> None:
    with pytest.raises(TraceError, match="cannot be written\n  found: No space left on device") as caught:
        ChunkWriter("/dev/full")
    assert isinstance(caught.value, DeterministicError)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_place_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot be written\n  found: "):
        ChunkWriter(tmp_path)
    with pytest.raises(TraceError, match=r"nowhere.a cannot be written\n  found: No such file or directory"):
        ChunkWriter(tmp_path / "nowhere" / "a")


def test_a_chunk_that_no_reader_would_take_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LIMIT", 100)
    writer = ChunkWriter(tmp_path / "a")
    writer.append((b"ABCD", bytes(100)))
    with pytest.raises(ValueError, match="101 bytes, 100 at most"):
        writer.append((b"ABCD", bytes(101)))
    writer.close()
    assert read_chunks(tmp_path / "a") == [(b"ABCD", bytes(100))]


def foreign(path: Path, kind: str) -> None:
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.write_bytes({"png": b"\x89PNG\r\n\x1a\n....", "text": b"a,b\n1,2\n", "empty": b"", "short": b"x"}[kind])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("zip", r"is not a trace\n  found: a file that begins with b'PK"),
        ("png", r"is not a trace\n  found: a file that begins with b'\\x89PNG"),
        ("text", r"is not a trace\n  found: a file that begins with b'a,b"),
        ("short", r"is not a trace\n  found: a file that begins with b'x'"),
        ("empty", r"is not a trace\n  found: 0 bytes"),
        ("directory", r"is not a trace\n  found: no regular file"),
        ("pipe", r"is not a trace\n  found: no regular file"),
        ("missing", r"cannot be read\n  found: No such file or directory"),
    ],
)
def test_what_is_no_trace_is_said_to_be_none(kind: str, message: str, tmp_path: Path) -> None:
    if kind == "pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("this platform has no pipes in folders")
    foreign(tmp_path / "a", kind)
    with pytest.raises(TraceError, match=message):
        ChunkReader(tmp_path / "a")


def test_a_transfer_that_changes_line_ends_is_noticed(tmp_path: Path) -> None:
    write_chunks(tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes().replace(b"\r\n", b"\n"))
    with pytest.raises(TraceError, match="is not a trace"):
        ChunkReader(tmp_path / "a")


@pytest.mark.parametrize(
    ("version", "message"),
    [(1, "by an older version"), (3, "by a newer version"), (255, "by a newer"), (0, "not a trace")],
)
def test_another_version_is_refused(version: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(MAGIC[:-1] + bytes([version]) + b"whatever comes then")
    with pytest.raises(TraceError, match=message):
        ChunkReader(tmp_path / "a")


def test_a_file_may_be_cut_anywhere(tmp_path: Path) -> None:
    ends = [*write_chunks(tmp_path / "a")[1:], (tmp_path / "a").stat().st_size]
    data = (tmp_path / "a").read_bytes()
    for size in [*range(1, 60), *range(len(data) - 40, len(data))]:
        (tmp_path / "a").write_bytes(data[:size])
        if size in (len(MAGIC), *ends):
            assert read_chunks(tmp_path / "a") == CHUNKS[: sum(end <= size for end in ends)]
        else:
            with pytest.raises(CutError):
                read_chunks(tmp_path / "a")


def test_a_changed_byte_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    offsets = write_chunks(tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[offsets[2] + 5000] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(TraceError, match=f"is damaged at byte {offsets[2]}\n"):
        read_chunks(tmp_path / "a")


def test_a_changed_tag_is_an_error(tmp_path: Path) -> None:
    offsets = write_chunks(tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[offsets[1]] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(TraceError, match=f"is damaged at byte {offsets[1]}\n"):
        read_chunks(tmp_path / "a")


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (2**32 - 1, "damaged at byte 8\n  found: a chunk of 4294967295 bytes\n  expected: at most 268435456"),
        (2**28 + 1, "damaged at byte 8"),
        (2**28, "was cut\n  found: 120 bytes\n  expected: more, for what begins at byte 8"),
    ],
)
def test_a_length_that_is_not_true_allocates_nothing(length: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(MAGIC + struct.pack("<4sII", b"HEAD", length, 0) + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match=message):
            read_chunks(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_shrinks_while_it_is_read_is_cut(tmp_path: Path) -> None:
    offsets = write_chunks(tmp_path / "a")
    reader = ChunkReader(tmp_path / "a")
    head = reader.head(offsets[2])
    assert head is not None
    os.truncate(tmp_path / "a", offsets[2] + 9000)
    with pytest.raises(CutError):
        reader.payload(head)
    reader.close()
