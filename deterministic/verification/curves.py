"""What runs can be drawn by: the numbers that they observed or returned, and how many of their values differ."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ..trace.comparing.cursor import Side, groups_of
from ..trace.file.model import Site
from ..trace.file.store import Entry, TraceReader
from ..values.distance import ulps_apart
from ..values.value import number_from

MOST_POINTS = 2000
"""Of a curve: more than a picture has pixels for. Of more, every so manieth is kept, and the first that differs."""

MOST_NAMES = 32
"""Names of numbers that are kept; of those after them only one that is the first to differ."""

_LISTED = re.compile(r"\[\d+\]$")


@dataclass(frozen=True)
class Curve:
    """One number of all runs, and how far apart they are.

    Attributes:
        name: What was observed, or "returned".
        axis: "step": `at` are optimizer steps, with fractions where it was recorded several times in one. "index": it
            was recorded in one step alone, or in none, and `at` says the how-manieth number it is.
        at: Where the points are.
        numbers: For each run, the number at each point; None where it has none.
        dtype: "float32" and the like, "int" for whole numbers: whose last places are counted.
        apart: How many of them the last run is from the first at each point, `math.inf` where one is NaN; None where
            only one has a number.
        first_apart: Where the first is that is not 0; None if there is none.
        most_apart: The most of all, also of those that are no points here; None where there is none.
    """

    name: str
    axis: Literal["step", "index"]
    at: Sequence[float]
    numbers: Sequence[Sequence[float | None]]
    dtype: str
    apart: Sequence[float | None]
    first_apart: float | None
    most_apart: float | None

    def as_data(self) -> dict[str, Any]:
        """Return how far apart the runs are, without the points, as JSON data."""
        return {
            "name": self.name,
            "axis": self.axis,
            "dtype": self.dtype,
            "first_apart": self.first_apart,
            "most_ulps_apart": "infinite" if self.most_apart == math.inf else self.most_apart,
        }


@dataclass(frozen=True)
class Curves:
    """What runs can be drawn by; plain data, at most `MOST_POINTS` of each and the first that differs.

    Attributes:
        names: What the runs are called.
        numbers: One for each name, in the order in which they were first recorded.
        steps: The steps of which `differing` and `recorded` tell.
        differing: By kind of record, how many values of the first and the last run differ at each of these steps.
        recorded: How many values the first run has at each.
        is_thinned: Whether there are points that were left out.
    """

    names: Sequence[str] = ()
    numbers: Sequence[Curve] = ()
    steps: Sequence[int] = ()
    differing: Mapping[str, Sequence[int]] = field(default_factory=dict)
    recorded: Sequence[int] = ()
    is_thinned: bool = False

    def __bool__(self) -> bool:
        return bool(self.numbers or self.steps)


def curves_of(paths: Sequence[Path], names: Sequence[str]) -> Curves:
    """Return the curves of traces of the level "values".

    Every trace is read once, a segment at a time; of those after the first, only the segments that differ from its.

    Args:
        paths: Of the traces. The last is compared with the first: no run follows one that differs.
        names: What to call them.
    """
    numbers: dict[str, _Numbers] = {}
    counts: list[tuple[int, Counter[str], int]] = []
    with ExitStack() as stack:
        sides = [Side(stack.enter_context(TraceReader(path)), "values") for path in paths]
        for step, groups in enumerate(zip_longest(*(groups_of(side.reader) for side in sides))):
            differing, recorded = Counter[str](), 0
            found: list[list[_Number]] = [[] for _ in sides]
            for entries in zip_longest(*(group.entries if group is not None else () for group in groups)):
                values = _read(sides, entries)
                differing += _differing(values[0], values[-1])
                recorded += len(values[0].hashes)
                for of_run, own in zip(found, values, strict=True):
                    of_run += own.numbers
            if recorded or differing:
                counts.append((step, differing, recorded))
            _add_numbers(numbers, step, found)
    kept = _kept([sum(differing.values()) for _, differing, _ in counts])
    kinds = dict.fromkeys(kind for _, differing, _ in counts for kind in differing)
    return Curves(
        names,
        [some.curve(name) for name, some in numbers.items()],
        [counts[index][0] for index in kept],
        {kind: [counts[index][1][kind] for index in kept] for kind in kinds},
        [counts[index][2] for index in kept],
        max(len(counts), *(len(some.at) for some in numbers.values()), 0) > MOST_POINTS,
    )


def _kept(apart: Sequence[float | None]) -> list[int]:
    """Return which of some points are kept, at each of which the runs are so far apart."""
    every = range(0, len(apart), math.ceil(len(apart) / MOST_POINTS) or 1)
    first = [index for index, far in enumerate(apart) if far][:1]
    return sorted({*every, *first})


class _Number(NamedTuple):
    name: str
    dtype: str
    value: float


class _Values(NamedTuple):
    """What a segment has: of each value the key and the kind of its record; and the numbers among them."""

    keys: np.ndarray = np.empty(0)
    kinds: np.ndarray = np.empty(0)
    hashes: np.ndarray = np.empty(0)
    numbers: Sequence[_Number] = ()


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
    places = np.arange(lengths.sum()) + np.repeat(part.starts - (np.cumsum(lengths) - lengths), lengths)
    numbers = [
        number
        for site, start in zip(sites, part.starts.tolist(), strict=True)
        if site.kind in ("observed", "returned")
        for number in _numbers(site, part.hashes[start : start + len(site.values)].tolist())
    ]
    kinds = np.repeat(np.array([site.kind for site in sites], object), lengths)
    return _Values(np.repeat(part.keys, lengths), kinds, part.hashes[places], numbers)


def _differing(one: _Values, other: _Values) -> Counter[str]:
    """Return how many values differ, by kind; a value that only one has is different."""
    if np.array_equal(one.keys, other.keys):
        return Counter(one.kinds[one.hashes != other.hashes].tolist())
    a, b = _named(one), _named(other)
    return Counter(kind for kind, *_ in a - b) | Counter(kind for kind, *_ in b - a)


def _named(values: _Values) -> set[tuple[str, int, int, int]]:
    """Return each value with its kind, its key, and the how-manieth of that key it is."""
    nth: dict[int, Iterator[int]] = defaultdict(count)
    columns = zip(values.kinds.tolist(), values.keys.tolist(), values.hashes.tolist(), strict=True)
    return {(kind, key, next(nth[key]), bits) for kind, key, bits in columns}


class _Numbers:
    """The numbers of one name: where each is, and what it is in each run."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self._dtypes: set[str] = set()
        self._rows: list[tuple[float | None, ...]] = []

    def add(self, step: int, rows: Sequence[tuple[float | None, ...]], dtypes: set[str]) -> None:
        """Append the numbers of a step."""
        self.at += [step + index / len(rows) for index in range(len(rows))]
        self._rows += rows
        self._dtypes |= dtypes

    def curve(self, name: str) -> Curve:
        """Return the curve."""
        runs = list(zip(*self._rows, strict=True))
        dtype = self._dtype()
        apart = _apart(runs[0], runs[-1] if len(runs) > 1 else [None] * len(runs[0]), dtype)
        by_index = int(self.at[0]) == int(self.at[-1]) and len(self.at) > 1
        at = range(len(self.at)) if by_index else self.at
        kept = _kept(apart)
        return Curve(
            name,
            "index" if by_index else "step",
            [at[index] for index in kept],
            [tuple(run[index] for index in kept) for run in runs],
            dtype,
            [apart[index] for index in kept],
            next((where for where, far in zip(at, apart, strict=True) if far), None),
            max((far for far in apart if far is not None), default=None),
        )

    def _dtype(self) -> str:
        """Return whose places are counted: float64's only where float32 does not have all of the numbers."""
        if self._dtypes in ({"int"}, {"float16"}, {"bfloat16"}, {"float64"}):
            return next(iter(self._dtypes))
        wide = np.array(self._rows, np.float64)
        with np.errstate(over="ignore"):
            return "float32" if np.array_equal(wide.astype(np.float32), wide, equal_nan=True) else "float64"


def _apart(one: Sequence[float | None], other: Sequence[float | None], dtype: str) -> list[float | None]:
    """Return how far apart numbers are: places of the dtype, `math.inf` from a NaN, None from what is not there."""
    if dtype == "int":
        return [None if a is None or b is None else abs(int(a) - int(b)) for a, b in zip(one, other, strict=True)]
    wide = np.array([one, other], np.float64)  # None becomes NaN
    far = ulps_apart(*torch.from_numpy(wide).to(getattr(torch, dtype))).astype(object)
    far[np.isnan(wide).any(axis=0)] = math.inf
    far[np.equal(*wide.view(np.uint64))] = 0  # the bits of two NaNs may be the same
    return [None if a is None or b is None else apart for a, b, apart in zip(one, other, far.tolist(), strict=True)]


def _add_numbers(numbers: dict[str, _Numbers], step: int, found: Sequence[Sequence[_Number]]) -> None:
    """Add the numbers of each run at a step, joined by name and order."""
    named: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in found])
    dtypes: dict[str, set[str]] = defaultdict(set)
    for run, number in ((run, number) for run, own in enumerate(found) for number in own):
        named[number.name][run].append(number.value)
        dtypes[number.name].add(number.dtype)
    for name, runs in named.items():
        rows = list(zip_longest(*runs))
        differs = any(len({repr(value) for value in row if value is not None}) > 1 for row in rows)
        if name in numbers or len(numbers) < MOST_NAMES + differs:
            numbers.setdefault(name, _Numbers()).add(step, rows, dtypes[name])


def _numbers(site: Site, hashes: Sequence[int]) -> Iterator[_Number]:
    """Yield what can be drawn of a record; the items of a list have one name, and "" is a dtype that is not known."""
    title = site.name if site.kind == "observed" else "returned"
    # What was observed as a tensor of one element is there twice: its hash without a name, its number as "value".
    tensor = next((value.type for value in site.values if not value.name), "")
    for value, bits in zip(site.values, hashes, strict=True):
        number = number_from(value.type, bits)
        if number is not None:
            twice = bool(tensor) and value.name == "value"
            name = title if twice else " ".join(filter(None, [title, _LISTED.sub("", value.name)]))
            dtype = tensor.partition("[")[0] if twice else ""
            yield _Number(name, dtype if value.type == "float" else "int", number)
