"""A checkpoint's file: the safetensors format with a checksum over all of it, written and read in pieces.

    length of the header  u64, little-endian
    header                JSON, ASCII, spaces up to a multiple of 8: {"__metadata__": texts by name, part: dtype, shape
                          and where in the data, ...}
    data                  the parts, one after the other

So every tool that reads safetensors finds the tensors. The first of the texts is the checksum: xxh3, 128 bits, of the
whole file with zeros in that place. The package safetensors is not used: it knows no checksum.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import torch
from xxhash import xxh3_128

from ..errors import CheckpointError, explain
from ..values.bits import undispatched

PIECE = 1 << 24
"""Bytes that are read at once."""

HEADER_LIMIT = 10**8
"""Bytes of a header: as many as safetensors allows."""

_BEFORE_CHECKSUM = '{"__metadata__":{"checksum":"'
_CHECKSUM_AT = 8 + len(_BEFORE_CHECKSUM)
_NO_CHECKSUM = "0" * 32
_LENGTH = struct.Struct("<Q")


class Part(NamedTuple):
    """What stands in the data.

    Attributes:
        name: Unique in the file.
        dtype: As safetensors calls it, "F32".
        shape: Its product, times the size of the dtype, is `nbytes`.
        nbytes: How many bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class Found(NamedTuple):
    """What a file contains.

    Attributes:
        texts: By name.
        parts: In their order.
        data: The bytes of each part, by name; empty if they were not asked for.
        checksum: Of the whole file, 32 hexadecimal digits.
    """

    texts: Mapping[str, str]
    parts: Sequence[Part]
    data: Mapping[str, torch.Tensor]
    checksum: str


def write(
    file: BinaryIO,
    texts: Mapping[str, str],
    parts: Sequence[Part],
    feed: Callable[[Part, Callable[[Any], None]], None],
) -> str:
    """Write a file from its beginning.

    Args:
        file: Open for writing, seekable.
        texts: By name.
        parts: In the order in which they shall stand.
        feed: Called for each part, with what takes its bytes piece by piece.

    Returns:
        The checksum.

    Raises:
        ValueError: The header would be too long.
        OSError: The operating system refuses.
    """
    header: dict[str, Any] = {"__metadata__": {"checksum": _NO_CHECKSUM, **texts}}
    end = 0
    for part in parts:
        start, end = end, end + part.nbytes
        header[part.name] = {"dtype": part.dtype, "shape": list(part.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"{len(text):,} bytes beside the tensors, where at most {HEADER_LIMIT:,} may be")
    head = _LENGTH.pack(len(text)) + text
    file.write(head)
    hashing = xxh3_128(head)

    def take(piece: Any) -> None:
        hashing.update(piece)
        file.write(piece)

    for part in parts:
        feed(part, take)
    file.seek(_CHECKSUM_AT)
    file.write(hashing.hexdigest().encode("ascii"))
    return hashing.hexdigest()


def read(path: str | os.PathLike[str], *, with_data: bool) -> Found:
    """Read a file and check it, in one pass; nothing is returned before the checksum is.

    Args:
        path: Of a regular file; a pipe or a device is refused.
        with_data: Whether to keep the bytes of the parts, else `PIECE` bytes of memory suffice.

    Raises:
        CheckpointError: It cannot be read, is no checkpoint, or is damaged.
    """
    try:
        # A pipe is opened without waiting for somebody to write into it, and then refused.
        no_wait = getattr(os, "O_NONBLOCK", 0)
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | no_wait)) as file, undispatched():
            return _read(file, path, with_data)
    except (OSError, MemoryError, RuntimeError) as error:  # RuntimeError is torch's for a lack of memory
        raise CheckpointError(
            explain(
                f"the checkpoint {os.fspath(path)} cannot be read",
                (f"found: {getattr(error, 'strerror', None) or error}",),
                "Pass the path of a file that save_checkpoint or Checkpoint wrote.",
            )
        ) from error


def _read(file: BinaryIO, path: Any, with_data: bool) -> Found:
    size = os.fstat(file.fileno()).st_size
    head = file.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not len(_BEFORE_CHECKSUM) < length <= min(HEADER_LIMIT, size - _LENGTH.size):
        raise _foreign(path, f"{size:,} bytes with no header")
    text = file.read(length)
    if not text.startswith(_BEFORE_CHECKSUM.encode("ascii")):
        raise _foreign(path, f"a file that begins with {text[:20]!r}")
    place = _CHECKSUM_AT - _LENGTH.size
    checksum = text[place : place + len(_NO_CHECKSUM)]
    hashing = xxh3_128(head + text[:place] + _NO_CHECKSUM.encode("ascii") + text[place + len(checksum) :])
    try:
        texts, parts = _parse(text, size - _LENGTH.size - length)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(path, f"a header that is wrong: {error}") from error
    data = {}
    scratch = torch.empty(0, dtype=torch.uint8, device="cpu")
    for part in parts:
        if with_data:
            scratch = data[part.name] = torch.empty(part.nbytes, dtype=torch.uint8, device="cpu")
        elif not len(scratch):
            scratch = torch.empty(PIECE, dtype=torch.uint8, device="cpu")
        _fill(file, scratch, part.nbytes, hashing, path, keep=with_data)
    if hashing.hexdigest().encode("ascii") != checksum:
        raise _damaged(path, f"bytes with the checksum {hashing.hexdigest()}, and {checksum!r} in the header")
    return Found(texts, parts, data, hashing.hexdigest())


def _fill(file: BinaryIO, target: torch.Tensor, count: int, hashing: Any, path: Any, *, keep: bool) -> None:
    view: Any = memoryview(target.numpy())  # type: ignore[arg-type]
    done = 0
    while done < count:
        start = done if keep else 0
        piece = view[start : start + min(PIECE, count - done)]
        got = file.readinto(piece)  # type: ignore[attr-defined]
        if not got:
            raise _damaged(path, "an end that came too soon: it is still written, or was copied in part")
        hashing.update(piece[:got])
        done += got


def _parse(text: bytes, size: int) -> tuple[Mapping[str, str], Sequence[Part]]:
    """Return what a header says; raise ValueError, or what a wrong type raises, if the data cannot be as it says."""
    header = json.loads(text.decode("ascii"))
    texts = header.pop("__metadata__")
    if not all(isinstance(value, str) for value in texts.values()):
        raise ValueError("metadata that is no text")
    parts = []
    end = 0
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        if type(start) is not int or type(stop) is not int or start != end or stop < start:
            raise ValueError(f"the part {name!r} is at {start!r} to {stop!r}, after {end}")
        shape = tuple(int(length) for length in entry["shape"])
        parts.append(Part(name, str(entry["dtype"]), shape, stop - start))
        end = stop
    if end != size:
        raise ValueError(f"{size:,} bytes of data, where the header has {end:,}")
    return texts, parts


def _foreign(path: Any, found: str) -> CheckpointError:
    return CheckpointError(
        explain(
            f"{os.fspath(path)} is no checkpoint",
            (f"found: {found}", "expected: a file that save_checkpoint or Checkpoint wrote"),
            "Pass the path of a checkpoint.",
        )
    )


def _damaged(path: Any, found: str) -> CheckpointError:
    return CheckpointError(
        explain(
            f"the checkpoint {os.fspath(path)} is damaged",
            (f"found: {found}",),
            'Copy it again from where it was written, or take an earlier one: Checkpoint(..., on_damage="previous").',
        )
    )
