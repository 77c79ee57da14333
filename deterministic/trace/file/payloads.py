"""What is in the chunks of a trace, as bytes.

    HEAD  the header: JSON
    SITE  sites that follow those before: zlib, JSON
    NUMS  numbers that segments share: the site of each record, or the repeats of hashes: zlib, u32
    STEP  a segment: optimizer i32, number u64, part u32, digest, values digest (16 bytes each),
          where in the file its records and its repeats are (u64 each), number of distinct hashes u32
    HASH  the distinct hashes of the STEP before it: u64
    DIGS  segments without records: how many u32, their digests of 16 bytes, zlib of optimizer, number, part of each
    END   the footer: JSON

Numbers are little-endian. Hashes do not compress. What is read may be anything: every function here that reads raises
ValueError for what the one that writes does not give, and allocates no more than the limits below allow.

What a module returns is what its last operation returned, and what an optimizer's step leaves is what its last
operation wrote: of the hashes of a step about half are there twice or more, and at the same places in every step. So a
segment has its *distinct* hashes, and shares its *repeats* with the segments that are like it: one number for each
hash, 0 where it is new, else how far before it the same one is met first, as in LZ77.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from .model import NO_OPTIMIZER, TRACE_LEVELS, Segment, Site, Step, TraceLevel, site_from_json

HEADER, SITES, NUMBERS, STEP, HASHES, DIGESTS, END = b"HEAD", b"SITE", b"NUMS", b"STEP", b"HASH", b"DIGS", b"END "

JSON_LIMIT = 2**22  # bytes of a JSON text; parsed it takes up to some twenty times that
NUMBERS_LIMIT = 2**22  # records of a segment, and hashes of one

LONGEST_SEGMENT = 2**16
"""Records after which a segment is cut: what is held in memory stays bounded where no optimizer steps."""

DIGESTS_LIMIT = 2**12  # segments without records in one chunk

U32, U64 = np.dtype("<u4"), np.dtype("<u8")

_STEP = struct.Struct("<iQI")
_RECORDED = struct.Struct("<iQI16s16sQQI")
_COUNT = struct.Struct("<I")
_DIGEST = struct.Struct("16s")


def pack_json(data: object) -> bytes:
    """Return JSON text, ASCII; raise ValueError for what is not JSON, nan and infinity too."""
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    return _within(text, JSON_LIMIT)


def unpack_json(text: bytes) -> Any:
    """Return what a JSON text says."""
    try:
        plain = _within(text, JSON_LIMIT).decode("ascii")
        return json.loads(plain, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None


def unpack_mapping(text: bytes) -> dict[str, Any]:
    """Return a header or footer."""
    data = unpack_json(text)
    if not isinstance(data, dict):
        raise ValueError(f"JSON with a {type(data).__name__} where names and values should be")
    return data


def level_of(header: Mapping[str, Any]) -> TraceLevel:
    """Return the level of a header; raise ValueError if it has none."""
    for level in TRACE_LEVELS:
        if header.get("level") == level:
            return level
    raise ValueError(f"a header with the level {header.get('level')!r}, which is none of {', '.join(TRACE_LEVELS)}")


def pack_sites(sites: Sequence[Site]) -> bytes:
    """Return sites; raise ValueError if they are too many or too long."""
    return zlib.compress(pack_json([site.as_json() for site in sites]))


def unpack_sites(payload: bytes) -> list[Site]:
    """Return the sites of one chunk."""
    data = unpack_json(_inflate(payload, JSON_LIMIT))
    if not isinstance(data, list):
        raise ValueError(f"JSON with a {type(data).__name__} where sites should be")
    return [site_from_json(site) for site in data]


def pack_numbers(numbers: bytes) -> bytes:
    """Return numbers that segments share, given as `U32`; raise ValueError if they are too many."""
    return zlib.compress(_within(numbers, 4 * NUMBERS_LIMIT))


def unpack_numbers(payload: bytes) -> np.ndarray:
    """Return numbers that segments share."""
    return np.frombuffer(_inflate(payload, 4 * NUMBERS_LIMIT), U32)


def pack_step(segment: Segment, records: int, repeats: int, length: int) -> bytes:
    """Return a segment, but where its records and the repeats of its hashes are, and how many of these are distinct."""
    return _RECORDED.pack(*segment.step, segment.digest, segment.values_digest, records, repeats, length)


def unpack_step(payload: bytes) -> tuple[Step, bytes, bytes, int, int, int]:
    """Return the step of a segment, its digests, and the other arguments of `pack_step`."""
    optimizer, number, part, *rest = _unpacked(_RECORDED, payload)
    return (_check_step(Step(optimizer, number, part)), *rest)


def pack_digests(segments: Sequence[Segment]) -> bytes:
    """Return segments that have no records."""
    # Steps compress to next to nothing, and digests not at all.
    steps = b"".join([_STEP.pack(*segment.step) for segment in segments])
    digests = b"".join([segment.digest for segment in segments])
    return _COUNT.pack(len(segments)) + digests + zlib.compress(steps)


def unpack_digests(payload: bytes) -> list[Segment]:
    """Return segments that have no records."""
    (count,) = _unpacked(_COUNT, payload[: _COUNT.size])
    end = _COUNT.size + _DIGEST.size * count
    if count > DIGESTS_LIMIT:
        raise ValueError(f"{count} digests where at most {DIGESTS_LIMIT} may be")
    steps = _inflate(payload[end:], _STEP.size * count)
    if len(steps) != _STEP.size * count:
        raise ValueError(f"{len(steps)} bytes of steps for {count} digests")
    digests = _DIGEST.iter_unpack(payload[_COUNT.size : end])
    return [
        Segment(_check_step(Step(*step)), digest, digest)
        for step, (digest,) in zip(_STEP.iter_unpack(steps), digests, strict=True)
    ]


def _check_step(step: Step) -> Step:
    if step.optimizer < NO_OPTIMIZER:
        raise ValueError(f"a step of optimizer {step.optimizer}")
    return step


def _unpacked(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) != layout.size:
        raise ValueError(f"{len(data)} bytes where {layout.size} should be")
    return layout.unpack(data)


def _within(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes where at most {limit} may be")
    return data


def _inflate(data: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        plain = decompressor.decompress(data, limit + 1)  # one more than may be, for 0 would mean no limit
    except zlib.error as error:
        raise ValueError(f"what zlib refuses: {error}") from error
    _within(plain, limit)
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError("compressed data that is cut or goes on after its end")
    return plain


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name}, which is not JSON")


def digest_of(keys: np.ndarray, hashes: np.ndarray) -> bytes:
    """Return 16 bytes over the keys of the sites and the hashes of records, the same on every machine."""
    digest = xxhash.xxh3_128(struct.pack("<QQ", len(keys), len(hashes)))
    digest.update(keys.astype(U64, copy=False).tobytes())
    digest.update(hashes.astype(U64, copy=False).tobytes())
    return digest.digest()


def without_repeats(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct hashes in the order in which they come, and the repeats."""
    _, firsts, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    repeats = np.arange(len(hashes)) - firsts[numbers]
    return hashes[repeats == 0], repeats.astype(U32)


def with_repeats(distinct: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Return the hashes; a ValueError says that the two do not belong together."""
    back = repeats.astype(np.int64)
    is_new = back == 0
    places = np.cumsum(is_new) - 1
    again = np.flatnonzero(back)
    firsts = again - back[again]
    if is_new.sum() != len(distinct) or (firsts < 0).any() or not is_new[firsts].all():
        raise ValueError(f"{len(distinct)} hashes for {len(repeats)} places with other repeats")
    places[again] = places[firsts]
    hashes: np.ndarray = distinct[places]
    return hashes
