"""What runs can be drawn by: their losses and other numbers, and at which steps which parts of the model differ."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..trace.comparing.cursor import Side, groups_of
from ..trace.file.model import Site
from ..trace.file.store import Entry, TraceReader
from ..values.numbers import number_bits, number_from

MOST_NAMES = 32
"""Names of numbers that are kept; of those after them only one that is the first to differ."""

SAME, DIFFERS = 1, 2

_LISTED = re.compile(r"\[\d+\]$")

_OPTION = re.compile(r"\S+ of group \d+(\[.*)?")

_OF_KINDS = {"batch": "data", "input": "data", "result": "model output", "loss": "loss", "returned": "returned"}
_OPTIONS, _TOP = "optimizer options", "(top level)"

BESIDE_MODULES = (*_OF_KINDS.values(), _OPTIONS)
"""What the rows of the map are called that are no module's, and nothing's that was observed."""


@dataclass(frozen=True)
class Curve:
    """One number of all runs, and how far apart they are.

    Where its axis is "step", the points are at optimizer steps, with fractions where it was recorded several times in
    one; where it was recorded in one step alone, or in none, it is "index", the how-manieth number it is.
    """

    name: str  # "loss at train.py:12", the line that called `backward()`; or what was observed, or "returned"
    kind: str  # "loss", "observed" or "returned"
    axis: Literal["step", "index"]
    at: Sequence[float]
    numbers: Sequence[Sequence[float | None]]  # for each run, the number at each point; None where it has none
    apart: Sequence[float | None]  # the last run from the first, inf where one is NaN; None where one has no number

    @property
    def first_apart(self) -> float | None:
        """Where the first distance is that is not 0; None if there is none."""
        return next((where for where, far in zip(self.at, self.apart, strict=True) if far), None)

    def as_data(self) -> dict[str, Any]:
        """Return how far apart the runs are, without the points, as JSON data."""
        most = max((far for far in self.apart if far is not None), default=None)
        return {
            "name": self.name,
            "kind": self.kind,
            "axis": self.axis,
            "first_apart": self.first_apart,
            "most_apart": "infinite" if most == math.inf else most,
        }


@dataclass(frozen=True)
class Curves:
    """What runs can be drawn by: their numbers, and a map of what differs.

    Its cells are by what is compared, the data first, then modules, then what they return and the rest: for each step,
    and for what follows the last, whether the last run `DIFFERS` from the first, is the `SAME`, or 0 if it has nothing
    there.
    """

    names: Sequence[str] = ()  # of the runs
    numbers: Sequence[Curve] = ()  # in the order in which they were first recorded
    cells: Mapping[str, bytes] = field(default_factory=dict)
    first: tuple[str, int] | None = None  # of which of these a value differs first, and at which step

    def __bool__(self) -> bool:
        return bool(self.numbers or self.cells)


def curves_of(traces: Mapping[str, Path]) -> Curves:
    """Return the curves of traces of the level "values" or above, by the names of the runs.

    Every trace is read once, a segment at a time; of those after the first, only the segments that differ from its.
    The last is compared with the first: no run follows one that differs.
    """
    numbers: dict[str, list[_Point]] = {}
    cells: dict[str, bytearray] = {}
    first: tuple[str, int] | None = None
    with ExitStack() as stack:
        sides = [Side(stack.enter_context(TraceReader(path)), "values") for path in traces.values()]
        for step, groups in enumerate(zip_longest(*(groups_of(side.reader) for side in sides))):
            found: dict[str, int] = {}
            named: dict[str, list[list[_Number]]] = defaultdict(lambda: [[] for _ in sides])
            for entries in zip_longest(*(group.entries if group is not None else () for group in groups)):
                values = _read(sides, entries)
                differing = _differing(values[0], values[-1])
                found |= {row: SAME for row in values[0].rows if row not in found} | dict.fromkeys(differing, DIFFERS)
                first = first or next(((row, step) for row in differing), None)
                for run, of_run in enumerate(values):
                    for number in of_run.numbers:
                        named[number.name][run].append(number)
            for row, state in found.items():
                cells.setdefault(row, bytearray()).extend([*bytes(step - len(cells[row])), state])
            for name, runs in named.items():
                rows = list(zip_longest(*runs))
                differs = any(len({repr(number) for number in row if number is not None}) > 1 for row in rows)
                if name in numbers or len(numbers) < MOST_NAMES + differs:
                    numbers.setdefault(name, []).extend(
                        _Point(step + index / len(rows), row) for index, row in enumerate(rows)
                    )
    length = max(map(len, cells.values()), default=0)
    order = sorted(cells, key=lambda row: 0 if row == "data" else 1 + (row in BESIDE_MODULES))
    return Curves(
        [*traces],
        [_curve(name, points) for name, points in numbers.items()],
        {row: bytes(cells[row]).ljust(length, b"\0") for row in order},
        first,
    )


class _Number(NamedTuple):
    name: str
    kind: str
    value: float


class _Point(NamedTuple):
    at: float
    row: Sequence[_Number | None]


class _Values(NamedTuple):
    """What a segment has: of each value the key of its record, and the row of the map; and the numbers among them."""

    keys: np.ndarray = np.empty(0)
    places: np.ndarray = np.empty(0, object)
    hashes: np.ndarray = np.empty(0)
    numbers: Sequence[_Number] = ()

    @property
    def rows(self) -> dict[str, None]:
        return dict.fromkeys(self.places)


def _read(sides: Sequence[Side], entries: Sequence[Entry | None]) -> list[_Values]:
    """Return what each run has in a segment; what the first has, without reading it, where the digests say so."""
    read: list[_Values] = []
    for side, entry in zip(sides, entries, strict=True):
        is_same = bool(read) and entry is not None and entries[0] is not None and entry[:3] == entries[0][:3]
        read.append(read[0] if is_same else _Values() if entry is None else _values(side, entry))
    return read


def _values(side: Side, entry: Entry) -> _Values:
    part = side.part(entry, 0)
    sites = [side.reader.sites[index] for index in part.sites.tolist()]
    lengths = np.array([len(site.values) for site in sites], np.intp)
    # A trace of another level has records between those that are read here.
    at = np.arange(lengths.sum()) + np.repeat(part.starts - (np.cumsum(lengths) - lengths), lengths)
    numbers = [
        number
        for site, start in zip(sites, part.starts.tolist(), strict=True)
        if site.kind in ("loss", "observed", "returned")
        for number in _numbers(site, part.hashes[start : start + len(site.values)].tolist())
    ]
    places = np.array([place for site in sites for place in _places_of(site)], object)
    return _Values(np.repeat(part.keys, lengths), places, part.hashes[at], numbers)


@lru_cache(maxsize=1024)
def _places_of(site: Site) -> Sequence[str]:
    """Return for each value of a record which row of the map it belongs to: of a parameter that of its module."""
    beside = site.name if site.kind == "observed" else _OF_KINDS.get(site.kind)
    if beside is not None:
        return [beside] * len(site.values)
    return [
        _OPTIONS
        if _OPTION.fullmatch(value.name)
        else value.name.rpartition(" of ")[2].rpartition(".")[0] or _TOP  # of "exp_avg of blocks.0.up.weight"
        for value in site.values
    ]


def _numbers(site: Site, hashes: Sequence[int]) -> Iterator[_Number]:
    """Yield what can be drawn of a record; the items of a list have one name."""
    title = {"observed": site.name, "loss": f"loss at {site.place}"}.get(site.kind, "returned")
    # What was observed as a tensor of one element is there twice: its hash without a name, its number as "value".
    is_twice = site.kind == "observed" and any(not value.name for value in site.values)
    for value, bits in zip(site.values, hashes, strict=True):
        number = number_from(value.type, bits)
        if number is not None:
            name = "" if is_twice and value.name == "value" else _LISTED.sub("", value.name)
            yield _Number(f"{title} {name}".rstrip(), site.kind, number)


def _differing(one: _Values, other: _Values) -> list[str]:
    """Return of what values differ, in the order of the records; a value that only one has is different."""
    if np.array_equal(one.keys, other.keys):
        return [*dict.fromkeys(one.places[one.hashes != other.hashes])]
    a, b = (Counter(zip(v.places.tolist(), v.keys.tolist(), v.hashes.tolist(), strict=True)) for v in (one, other))
    return [*dict.fromkeys(place for place, *_ in [*(a - b), *(b - a)])]


def _curve(name: str, points: Sequence[_Point]) -> Curve:
    rows = [tuple(None if number is None else number.value for number in row) for _, row in points]
    kind = next(number.kind for number in points[0].row if number is not None)
    by_index = int(points[0].at) == int(points[-1].at) and len(points) > 1
    at = list(range(len(points))) if by_index else [point.at for point in points]
    apart = [_apart(row[0], row[-1]) if len(row) > 1 else None for row in rows]
    return Curve(name, kind, "index" if by_index else "step", at, list(zip(*rows, strict=True)), apart)


def _apart(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    if number_bits(one) == number_bits(other):  # two NaNs may be the same
        return 0
    far = abs(one - other)
    return math.inf if math.isnan(far) else far or math.ulp(0.0)  # 0.0 and -0.0 are not
