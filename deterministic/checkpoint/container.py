"""A checkpoint's file: the safetensors format with a checksum over all of it, written and read in pieces.

    length of the header  u64, little-endian
    header                JSON, ASCII, spaces up to a multiple of 8: {"__metadata__": texts by name, part: dtype, shape
                          and where in the data, ...}
    data                  the parts, one after the other

So every tool that reads safetensors finds the tensors. The first of the texts is the checksum: xxh3, 128 bits, of the
whole file with zeros in that place. The others are JSON: a head that can be read alone, and the values, in which the
tensors are parts. The package safetensors is not used: it knows no checksum, and takes no part piece by piece, as one
comes from a device.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor
from xxhash import xxh3_128

from ..errors import CheckpointError
from ..values.bits import feed, undispatched
from .directory import refusal, replacing
from .tensors import LoadedTensors, StoredTensors, memory_of, part_of
from .values import ValueEncoder, decode

FORMAT = "deterministic checkpoint 1"

PIECE = 1 << 19
"""Bytes that are read at once: they are still in the processor's cache when they are hashed."""

HEADER_LIMIT = 10**8  # bytes of a header: as many as safetensors allows

_BEFORE_CHECKSUM = b'{"__metadata__":{"checksum":"'
_NO_CHECKSUM = b"0" * 32
_CHECKSUM = slice(len(_BEFORE_CHECKSUM), len(_BEFORE_CHECKSUM + _NO_CHECKSUM))
_LENGTH = struct.Struct("<Q")


class Content(NamedTuple):
    """What a file contains; no values if only the head was read, and how many bytes each of its parts has.

    Of shards there are the digests, xxh3-128, taken of the bytes that the checksum was found right for.
    """

    head: Mapping[str, Any]
    values: Mapping[str, Any]
    checksum: str
    sizes: Mapping[str, int]
    digests: Mapping[str, bytes]


def write(
    path: Path,
    head: Mapping[str, Any],
    values: Mapping[str, Any],
    named: Callable[[str], Path] | None = None,
    shards: Mapping[str, Tensor] | None = None,
) -> str:
    """Write a file, which is there as a whole or not at all, and return its checksum: a head of JSON, and any values.

    With `named` it gets the path that this returns for its checksum, in the same folder. Shards are parts that belong
    to no value of the file; `read` leaves them out, and `places` finds them. A CheckpointError says that a value cannot
    be stored, that there is too much beside the tensors, or that the operating system refuses.
    """
    tensors = StoredTensors()
    encoder = ValueEncoder(tensors)
    encoded = {name: encoder.encode(value, name) for name, value in values.items()}
    parts = tensors.parts(taken=shards or ())
    texts = {
        "checksum": _NO_CHECKSUM.decode(),
        "format": FORMAT,
        "head": json.dumps(head),
        "storages": json.dumps([[part.name, part.start] for part in parts]),
        "values": json.dumps(encoded, allow_nan=False),
    }
    parts += [part_of(name, shard) for name, shard in (shards or {}).items()]
    # The widest dtypes first: so each is aligned, as safetensors' readers want.
    parts.sort(key=lambda part: part.memory.nbytes // max(1, prod(part.shape)), reverse=True)
    header: dict[str, Any] = {"__metadata__": texts}
    end = 0
    for part in parts:
        start, end = end, end + part.memory.nbytes
        header[part.name] = {"dtype": part.dtype, "shape": part.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise refusal(
            f"the checkpoint {path} cannot hold this",
            f"{len(text):,} bytes beside the tensors, where at most {HEADER_LIMIT:,} may be",
            "Keep large data in tensors or arrays, not in lists or texts.",
        )
    checksum = ""
    with replacing(path, None if named is None else lambda: named(checksum)) as file:
        checksum = write_pieces(file, text, [part.memory for part in parts])
    return checksum


def write_pieces(file: BinaryIO, header: bytes, memories: Sequence[Tensor]) -> str:
    """Write all of a file, its checksum last, and return that."""
    hashing = xxh3_128()

    def take(piece: Any) -> None:
        hashing.update(piece)
        file.write(piece)

    take(_LENGTH.pack(len(header)) + header)
    for memory in memories:
        feed(memory, take)
    file.seek(_LENGTH.size + _CHECKSUM.start)
    file.write(hashing.hexdigest().encode("ascii"))
    return hashing.hexdigest()


def read(path: str | os.PathLike[str], *, with_values: bool = True) -> Content:
    """Read a file in one pass; nothing is made of it before its checksum is found right.

    Without values no tensor is made, and `PIECE` bytes of memory suffice. Shards are looked over; `places` tells where
    they are. A CheckpointError says that it cannot be read, is none, is damaged, or of a newer version.
    """
    try:
        # A pipe is opened without waiting for somebody to write into it, and then refused.
        no_wait = getattr(os, "O_NONBLOCK", 0)
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | no_wait)) as file, undispatched():
            texts, sizes, data, checksum, digests = _read(file, path, with_values)
        values = _decoded(path, texts, data if with_values else None)
        return Content(*values, checksum, sizes, digests)
    except (OSError, MemoryError, RuntimeError) as error:  # RuntimeError is torch's for a lack of memory
        raise refusal(
            f"the checkpoint {os.fspath(path)} cannot be read",
            getattr(error, "strerror", None) or error,
            "Pass the path of a file that save_checkpoint or Checkpoint wrote.",
        ) from error


def _decoded(
    path: Any, texts: Mapping[str, str], data: Mapping[str, Tensor] | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the head and the values that a file's texts say; without data there are no values."""
    if texts.get("format") != FORMAT:
        raise CheckpointError(
            f"{os.fspath(path)} is in a format that this version does not read",
            (f"found: {texts.get('format', '')!r}", f"expected: {FORMAT!r}"),
            "Read it with the version that wrote it, or a later one.",
        )
    try:
        head = json.loads(texts["head"])
        values = {} if data is None else json.loads(texts["values"])
        if not isinstance(head, dict) or not isinstance(values, dict):
            raise ValueError("a head or values that are not a mapping")
        tensors = LoadedTensors([] if data is None else json.loads(texts["storages"]), data or {})
        return head, {name: decode(value, tensors) for name, value in values.items()}
    except torch.OutOfMemoryError:
        raise
    except (ValueError, LookupError, TypeError, OverflowError, RuntimeError) as error:
        raise refusal(
            f"the checkpoint {os.fspath(path)} holds something that no version of this library writes",
            f"{type(error).__name__}: {error}",
            "Its checksum is right: it was made by hand, memory is short, or the library is at fault: report it.",
        ) from error


def _read(
    file: BinaryIO, path: Any, with_data: bool
) -> tuple[Mapping[str, str], Mapping[str, int], Mapping[str, Tensor], str, Mapping[str, bytes]]:
    """Return a file's texts, the size of each part, its bytes if they are asked for, and the checksum, found right.

    Of parts that belong to no value there are digests then.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not len(_BEFORE_CHECKSUM) < length <= min(HEADER_LIMIT, size - _LENGTH.size):
        raise _foreign(path, f"{size:,} bytes with no header")
    text = file.read(length)
    if not text.startswith(_BEFORE_CHECKSUM):
        raise _foreign(path, f"a file that begins with {text[:20]!r}")
    hashing = xxh3_128(head + _BEFORE_CHECKSUM + _NO_CHECKSUM + text[_CHECKSUM.stop :])
    try:
        texts, sizes = _parse(text, size - _LENGTH.size - length)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(path, f"a header that is wrong: {error}") from error
    data, digests = {}, {}
    wanted = _of_values(texts) if with_data else ()
    scratch = memory_of(min(PIECE, max(sizes.values(), default=0)))
    for name, nbytes in sizes.items():
        if name in wanted:
            data[name] = memory_of(nbytes)
        of_part = xxh3_128()
        is_shard = with_data and name not in wanted
        _fill(file, data.get(name, scratch), nbytes, [hashing, of_part] if is_shard else [hashing], path)
        if is_shard:
            digests[name] = of_part.digest()
    if hashing.hexdigest().encode("ascii") != text[_CHECKSUM]:
        raise _damaged(path, f"bytes with the checksum {hashing.hexdigest()}, and {text[_CHECKSUM]!r} in the header")
    return texts, sizes, data, hashing.hexdigest(), digests


def _of_values(texts: Mapping[str, str]) -> Container[str]:
    """Return the names of the parts that belong to values, as the header says before its checksum is known."""
    try:
        return {name for name, _ in json.loads(texts["storages"])}
    except (ValueError, LookupError, TypeError, RuntimeError):  # of which it is told when it is decoded
        return ()


def places(path: Path) -> Mapping[str, tuple[int, int]]:
    """Return where in a file, whose checksum was found right before, each part begins, and how many bytes it has."""
    try:
        with open(path, "rb") as file:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            start = _LENGTH.size + length
            _, sizes = _parse(file.read(length), os.fstat(file.fileno()).st_size - start)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise _damaged(path, f"changed while it was read: {error}") from error
    ends = accumulate(sizes.values(), initial=start)
    return {name: (begin, size) for (name, size), begin in zip(sizes.items(), ends, strict=False)}


def _fill(file: BinaryIO, target: Tensor, count: int, hashings: Sequence[Any], path: Any) -> None:
    """Read so many bytes into memory, again and again if it has fewer; of each piece that is there all are told."""
    view: Any = memoryview(target.numpy())  # type: ignore[arg-type]
    done = 0
    while done < count:
        start = done % len(view)
        got = file.readinto(view[start : start + min(PIECE, count - done)])  # type: ignore[attr-defined]
        if not got:
            raise _damaged(path, "an end that came too soon: it is still written, or was copied in part")
        for hashing in hashings:
            hashing.update(view[start : start + got])
        done += got


def _parse(text: bytes, size: int) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """Return what a header says; raise ValueError, or what a wrong type raises, if the data cannot be as it says."""
    header = json.loads(text.decode("ascii"))
    texts = header.pop("__metadata__")
    if not all(isinstance(value, str) for value in texts.values()):
        raise ValueError("metadata that is not text")
    sizes = {}
    end = 0
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        if type(start) is not int or type(stop) is not int or start != end or stop < start:
            raise ValueError(f"the part {name!r} is at {start!r} to {stop!r}, after {end}")
        if not isinstance(entry["dtype"], str) or not all(type(length) is int for length in entry["shape"]):
            raise ValueError(f"the part {name!r} has no dtype and shape")
        sizes[name] = stop - start
        end = stop
    if end != size:
        raise ValueError(f"{size:,} bytes of data, where the header has {end:,}")
    return texts, sizes


def _foreign(path: Any, actual: str) -> CheckpointError:
    return CheckpointError(
        f"{os.fspath(path)} is not a checkpoint",
        (f"found: {actual}", "expected: a file that save_checkpoint or Checkpoint wrote"),
        "Pass the path of a checkpoint.",
    )


def _damaged(path: Any, problem: str) -> CheckpointError:
    return refusal(
        f"the checkpoint {os.fspath(path)} is damaged",
        problem,
        'Copy it again from where it was written, or take an earlier one: Checkpoint(..., on_damage="previous").',
    )
