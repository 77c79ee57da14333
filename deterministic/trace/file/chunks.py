"""The container of a trace: chunks, each with its length and a checksum, appended one after the other.

    magic   89 "DTR" 0D 0A 1A, and one byte for the version of the format
    chunk   tag (4 bytes), length of the payload (u32), CRC-32 of tag and payload (u32), payload

Numbers are little-endian. What was appended is never changed, so a process that is killed leaves a file that can be
read up to its last whole chunk, and a file can be read while it is written. What is in them: `payloads`.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from typing import NamedTuple, TypeAlias

from ...errors import TraceError

StrPath: TypeAlias = str | os.PathLike[str]

SIGNATURE = b"\x89DTR\r\n\x1a"
"""As of PNG: no text begins like this, and a transfer that translates line ends breaks it."""

VERSION = 2
MAGIC = SIGNATURE + bytes([VERSION])

CHUNK_LIMIT = 2**28  # no payload is longer, so that no number in a file makes its reader allocate more

_HEAD = struct.Struct("<4sII")


class CutError(TraceError):
    """A trace ends inside of a chunk."""


class ChunkHead(NamedTuple):
    """What stands before a payload."""

    offset: int  # where the chunk begins in the file
    tag: bytes  # what the payload is, 4 bytes
    length: int  # of the payload, in bytes
    crc: int  # the CRC-32 of tag and payload

    @property
    def start(self) -> int:
        """Where the payload begins."""
        return self.offset + _HEAD.size

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.start + self.length


class ChunkWriter:
    """Appends chunks to a new file. An exception while it does closes the file: the next chunk would be unreadable."""

    def __init__(self, path: StrPath) -> None:
        self.offset = 0
        self._path = path
        try:
            # Unbuffered: each chunk goes to the operating system at once, and a forked child has nothing to flush.
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - it stays open until `close`
        except OSError as error:
            raise self._failed(error) from error
        self._write(MAGIC)

    @property
    def closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._file.closed

    def append(self, *chunks: tuple[bytes, bytes]) -> int:
        """Append chunks, each a tag and a payload, in one write; return the offset of the first.

        A TraceError says that the operating system refuses, a ValueError that a payload is too long.
        """
        parts: list[bytes] = []
        for tag, payload in chunks:
            if len(payload) > CHUNK_LIMIT:
                raise ValueError(f"a chunk {tag.decode()} of {len(payload)} bytes, {CHUNK_LIMIT} at most")
            parts += (_HEAD.pack(tag, len(payload), _crc(tag, payload)), payload)
        offset = self.offset
        self._write(b"".join(parts))
        return offset

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # some network file systems tell only now that the disk is full
            raise self._failed(error) from error

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
            self.offset += len(data)
        except BaseException as error:
            self._file.close()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    def _failed(self, error: OSError) -> TraceError:
        return TraceError(
            f"the trace {self._path} cannot be written",
            (f"found: {error.strerror or error}", f"written: {self.offset} bytes, readable up to there"),
            "Make room, or write the trace to another place.",
        )


class ChunkReader:
    """Reads the chunks of a file, in any order, also while it is written; at most one payload at a time."""

    def __init__(self, path: StrPath) -> None:
        self._path = path
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for somebody to write into it
                raise self._foreign("no regular file")
            self._file = open(path, "rb")  # noqa: SIM115 - it stays open until `close`
        except OSError as error:
            raise self._foreign(error.strerror or error, "cannot be read") from error
        self._size = 0
        try:
            self._check_magic()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def head(self, offset: int) -> ChunkHead | None:
        """Return the head of the chunk at `offset`, whose payload is there in full; None where the file ends.

        A CutError says that the file ends inside of the chunk.
        """
        left = self._left(offset, _HEAD.size)
        if not left:
            return None
        if left < _HEAD.size:
            raise self.cut(offset)
        head = ChunkHead(offset, *_HEAD.unpack(self._read(offset, _HEAD.size)))
        if head.length > CHUNK_LIMIT:
            raise self.damaged(offset, f"a chunk of {head.length} bytes", f"at most {CHUNK_LIMIT}")
        if self._left(head.start, head.length) < head.length:
            raise self.cut(offset)
        return head

    def payload(self, head: ChunkHead) -> bytes:
        """Return the payload of a chunk; a TraceError says that it cannot be read, or is damaged."""
        payload = self._read(head.start, head.length)
        crc = _crc(head.tag, payload)
        if crc != head.crc:
            raise self.damaged(head.offset, f"bytes with the checksum {crc:08x}", f"{head.crc:08x}")
        return payload

    def ends_at(self, offset: int) -> bool:
        """Return whether nothing follows."""
        return not self._left(offset, 1)

    def damaged(self, offset: int, actual: str, expected: str) -> TraceError:
        """Return the error that says what is wrong at a byte."""
        return TraceError(
            f"the trace {self._path} is damaged at byte {offset}",
            (f"found: {actual}", f"expected: {expected}"),
            "Copy it again from where it was written, or record it again; what comes before can be read.",
        )

    def cut(self, offset: int) -> CutError:
        """Return the error that says where the last chunk begins, which is not whole."""
        return CutError(
            f"the trace {self._path} was cut",
            (f"found: {self._size} bytes", f"expected: more, for what begins at byte {offset}"),
            "Its writer was killed or is still writing, or it was copied in part; what comes before can be read.",
        )

    def _check_magic(self) -> None:
        if not self._left(0, len(MAGIC)):
            raise self._foreign("0 bytes")
        magic = self._read(0, min(self._size, len(MAGIC)))
        if not MAGIC.startswith(magic[: len(SIGNATURE)]):
            raise self._foreign(f"a file that begins with {magic!r}")
        if len(magic) < len(MAGIC):
            raise self.cut(0)
        if magic[-1] == 0:
            raise self._foreign("format 0, which never existed")
        if magic != MAGIC:
            which, or_else = ("a newer", ", or a later one") if magic[-1] > VERSION else ("an older", "")
            raise TraceError(
                f"the trace {self._path} was written by {which} version of deterministic",
                (f"found: format {magic[-1]}", f"expected: format {VERSION}"),
                f"Read it with the version that wrote it{or_else}, or record it again.",
            )

    def _left(self, offset: int, wanted: int) -> int:
        """Return how many bytes there are from `offset` on; asks again for the size if they are less than `wanted`."""
        if self._size - offset < wanted:
            self._size = os.fstat(self._file.fileno()).st_size
        return max(0, self._size - offset)

    def _read(self, offset: int, length: int) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(length)
        except OSError as error:
            raise self._foreign(error.strerror or error, "cannot be read") from error
        if len(data) < length:  # it was shortened after its size was read
            raise self.cut(offset)
        return data

    def _foreign(self, actual: object, differs: str = "is not a trace") -> TraceError:
        values = (f"found: {actual}", "expected: a file that deterministic wrote")
        return TraceError(f"{self._path} {differs}", values, "Pass the path of a trace.")


def _crc(tag: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(tag))
