"""What the segments of a trace have in common: which of their hashes are numbers, and what each is of."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..trace.file import TraceReader
from ..trace.log import key_of
from ..trace.model import Segment, Site
from ..trace.values import number_from

PROGRAMS_KNOWN = 8
"""Those used last, of each trace: a run does the same things at most of its steps."""

_LISTED = re.compile(r"\[\d+\]$")


class Number(NamedTuple):
    """Which hash of a segment is a number that can be drawn.

    Attributes:
        place: Of the hash among those of the segment.
        name: What was observed, or "returned". The items of a list have one name.
        type: As in the trace: "float", "int" or "bool".
        dtype: "float32" of a tensor, "int", or "" where it is not known.
    """

    place: int
    name: str
    type: str
    dtype: str


@dataclass(frozen=True)
class Program:
    """What is known of a segment without its hashes.

    Attributes:
        keys: For each record what two runs must agree in.
        lengths: How many hashes each record has.
        kinds: For each hash the kind of its record.
        numbers: The hashes that can be drawn.
    """

    keys: np.ndarray
    lengths: Sequence[int]
    kinds: np.ndarray
    numbers: Sequence[Number]

    def read(self, hashes: Sequence[int]) -> dict[str, list[float]]:
        """Return the numbers of a segment, by name, in the order in which they were recorded."""
        found: dict[str, list[float]] = {}
        for place, name, type_, _ in self.numbers:
            number = number_from(type_, hashes[place])
            if number is not None:
                found.setdefault(name, []).append(number)
        return found


class Programs:
    """The programs of one trace, of which those used last are kept.

    Args:
        reader: Reads the trace.
    """

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._known: dict[bytes, Program] = {}

    def of(self, segment: Segment) -> Program:
        """Return the program of a segment."""
        records = array("I", segment.records).tobytes()
        program = self._known.pop(records, None)
        if program is None:
            program = _program([self._reader.sites[record] for record in segment.records])
            if len(self._known) >= PROGRAMS_KNOWN:
                del self._known[next(iter(self._known))]
        self._known[records] = program
        return program


def differing(one: Program, hashes: Sequence[int], other: Program, others: Sequence[int]) -> Counter[str]:
    """Return how many of the values of two segments differ, by the kind of their record.

    A value that one of them has and the other has not is different.

    Args:
        one: The program of a segment.
        hashes: Its hashes.
        other: The program of the other one.
        others: Its hashes.
    """
    if np.array_equal(one.keys, other.keys):
        mask = np.asarray(hashes, np.uint64) != np.asarray(others, np.uint64)
        return Counter(one.kinds[mask].tolist())
    found: Counter[str] = Counter()
    unmatched = {key: (start, end) for key, start, end in _places(other)}
    for key, start, end in _places(one):
        there = unmatched.pop(key, None)
        told = others[slice(*there)] if there is not None else ()
        same = sum(x == y for x, y in zip(hashes[start:end], told, strict=False))
        found.update(one.kinds[start : end - same].tolist())
    for start, end in unmatched.values():
        found.update(other.kinds[start:end].tolist())
    return found


def _places(program: Program) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Yield what tells a record from the others of its segment, and where its hashes begin and end."""
    seen: Counter[int] = Counter()
    start = 0
    for key, length in zip(program.keys.tolist(), program.lengths, strict=True):
        yield (key, seen[key]), start, start + length
        seen[key] += 1
        start += length


def _program(sites: Sequence[Site]) -> Program:
    lengths = [len(site.values) for site in sites]
    numbers: list[Number] = []
    start = 0
    for site in sites:
        numbers += [number._replace(place=start + number.place) for number in _numbers(site)]
        start += len(site.values)
    kinds = np.repeat(np.array([site.kind for site in sites], dtype=object), np.array(lengths, np.intp))
    return Program(np.array([key_of(site) for site in sites], np.uint64), lengths, kinds, numbers)


def _numbers(site: Site) -> Iterator[Number]:
    if site.kind not in ("observed", "returned"):
        return
    title = site.name if site.kind == "observed" else "returned"
    # What was observed as a tensor of one element is there twice: its hash without a name, its number as "value".
    tensor = next((value.type for value in site.values if not value.name), "")
    for index, value in enumerate(site.values):
        if value.type not in ("float", "int", "bool"):
            continue
        twice = bool(tensor) and value.name == "value"
        name = title if twice else " ".join(filter(None, [title, _LISTED.sub("", value.name)]))
        if value.type == "float":
            yield Number(index, name, value.type, tensor.partition("[")[0] if twice else "")
        else:
            yield Number(index, name, value.type, "int")
