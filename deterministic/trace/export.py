"""A trace as JSON lines, for other tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any, TextIO

from ..ground.source import JSON
from ..values.numbers import number_from
from .file.chunks import StrPath
from .file.model import Segment, Site, Value
from .file.store import TraceReader


def export(path: StrPath, stream: TextIO) -> None:
    """Write a trace as JSON lines: the header, each segment and after it its records, the footer.

    Each line is an object whose first name says what it is::

        {"header": {...}}
        {"segment": {"optimizer": 0, "number": 7, "part": 0, "digest": "...", "values_digest": "..."}}
        {"record": {"optimizer": 0, "number": 7, "part": 0, "index": 105, "kind": "operation", "name": ..., "values": [
            {"role": "output", "type": "float32[128, 128]", "name": "", "origin": "", "hash": "00f1e2d3c4b5a697"}]}}
        {"footer": {...}, "truncated": false}

    Beside the hash, a value of the role "number" has the number itself, with nan and infinity as text. The footer is
    null if the trace is not finished. A trace at the level "digest" has no records. Nothing is added to what is in the
    trace: no path, no time. Holds one segment at a time; ASCII.

    Args:
        path: Of the trace.
        stream: Where to, text.

    Raises:
        TraceError: It is no trace, or damaged; what comes before the damage is written by then.
    """
    with TraceReader(path) as trace:
        _write(stream, {"header": trace.header})
        for segment in trace.segments():
            step = segment.step._asdict()
            digests = {"digest": segment.digest.hex(), "values_digest": segment.values_digest.hex()}
            _write(stream, {"segment": {**step, **digests}})
            for index, record in enumerate(_records(segment, trace.sites)):
                _write(stream, {"record": {**step, "index": index, **record}})
        _write(stream, {"footer": trace.footer, "truncated": trace.truncated})


def number_of(value: Value, bits: int) -> JSON:
    """Return the number whose 64 bits stand in place of a hash, as JSON has it; None if they are none."""
    number = number_from(value.type, bits) if value.role == "number" else None
    return str(number) if isinstance(number, float) and not isfinite(number) else number


def _records(segment: Segment, sites: list[Site]) -> Iterator[dict[str, Any]]:
    hashes = iter(map(int, segment.hashes))
    for index in segment.records:
        site = sites[index]
        # zip asks for a value first, so that it takes no hash of the next record.
        values = [_value(value, bits) for value, bits in zip(site.values, hashes, strict=False)]
        yield {**site._asdict(), "callers": [line._asdict() for line in site.callers], "values": values}


def _value(value: Value, bits: int) -> dict[str, JSON]:
    number = number_of(value, bits)
    return {**value._asdict(), "hash": f"{bits:016x}"} | ({} if number is None else {"number": number})


def _write(stream: TextIO, data: dict[str, Any]) -> None:
    stream.write(json.dumps(data, allow_nan=False) + "\n")
