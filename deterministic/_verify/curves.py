"""What runs can be drawn by: the numbers that they observed or returned, and how many of their values differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..trace.file import Entry, TraceReader
from ..trace.model import NO_OPTIMIZER, Segment
from .points import Thinned, fits, ulps_apart
from .programs import Programs, differing

MOST_NAMES = 32
"""Names of numbers that are kept; of those after them only one that is the first to differ."""


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
        apart: How many of them the farthest run is from the first at each point, `math.inf` where one is NaN; None
            where only one has a number. A point that stands for several has the largest.
        first_apart: Where the first is that is not 0; None if there is none.
    """

    name: str
    axis: Literal["step", "index"]
    at: Sequence[float]
    numbers: Sequence[Sequence[float | None]]
    dtype: str
    apart: Sequence[float | None]
    first_apart: float | None

    def as_data(self) -> dict[str, Any]:
        """Return how far apart the runs are, without the points, as JSON data."""
        known = [apart for apart in self.apart if apart is not None]
        most = max(known, default=None)
        return {
            "name": self.name,
            "axis": self.axis,
            "dtype": self.dtype,
            "first_apart": self.first_apart,
            "most_ulps_apart": "infinite" if most == math.inf else most,
        }


@dataclass(frozen=True)
class Curves:
    """What runs can be drawn by; plain data, thinned out where a run is long.

    Attributes:
        names: What the runs are called.
        numbers: One for each name, in the order in which they were first recorded.
        steps: The steps of which `differing` and `recorded` tell.
        differing: By kind of record, how many values differ from those of the first run at each of these steps; a step
            that stands for several has the most.
        recorded: How many values the first run has at each.
        is_thinned: Whether some points stand for several.
    """

    names: Sequence[str] = ()
    numbers: Sequence[Curve] = ()
    steps: Sequence[int] = ()
    differing: Mapping[str, Sequence[int]] = field(default_factory=dict)
    recorded: Sequence[int] = ()
    is_thinned: bool = False

    def __bool__(self) -> bool:
        return bool(self.numbers or self.steps)

    def as_data(self) -> list[dict[str, Any]]:
        """Return how far apart the numbers are, without the points, as JSON data."""
        return [curve.as_data() for curve in self.numbers]


def curves_of(paths: Sequence[Path], names: Sequence[str]) -> Curves:
    """Return the curves of traces of the level "values", whatever their lengths in bounded memory.

    Every trace is read once, a segment at a time; of those after the first, only the segments that differ from its.

    Args:
        paths: Of the traces; the others are compared with the first.
        names: What to call them.
    """
    drawing = _Drawing()
    with ExitStack() as stack:
        readers = [stack.enter_context(TraceReader(path)) for path in paths]
        programs = [Programs(reader) for reader in readers]
        for entries in zip_longest(*(reader.steps() for reader in readers)):
            drawing.add(readers, programs, entries)
    return drawing.curves(names)


class _Point(NamedTuple):
    """Attributes: see `Curve`; `narrow` and `wide` are `apart` by the places of a narrow dtype and of float64."""

    at: float
    nth: int
    numbers: tuple[float | None, ...]
    narrow: float | None
    wide: float | None


def _merged(one: _Point, other: _Point) -> _Point:
    return one._replace(narrow=_larger(one.narrow, other.narrow), wide=_larger(one.wide, other.wide))


def _larger(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else max(one, other)


class _Numbers:
    """The points of one name."""

    def __init__(self, name: str, dtype: str) -> None:
        self.name = name
        self._dtype = dtype
        self._narrow = dtype if dtype in ("int", "float16", "bfloat16") else "float32"
        self._fits = True
        self._points: Thinned[_Point] = Thinned(_merged)
        self._count = 0
        self._first: _Point | None = None
        self._steps: list[int] = []  # the first and the last

    @property
    def is_thinned(self) -> bool:
        return self._points.is_thinned

    def add(self, step: int, at: float, numbers: tuple[float | None, ...], *, exactly: bool) -> None:
        known = [number for number in numbers if number is not None]
        if self._dtype not in ("int", "float64"):
            self._fits = self._fits and all(fits(number, self._narrow) for number in known)
        elif self._dtype == "int":  # until it is a float for once
            self._fits = self._fits and all(isinstance(number, int) for number in known)
        point = _Point(at, self._count, numbers, _apart(numbers, self._narrow), _apart(numbers, "float64"))
        self._count += 1
        self._steps = [*self._steps[:1], step]
        is_first = self._first is None and bool(point.narrow or point.wide)
        if is_first:
            self._first = point
        if is_first or exactly:
            self._points.add_exactly(point)
        else:
            self._points.add(point)

    def curve(self) -> Curve:
        points = self._points.points()
        by_index = self._steps[0] == self._steps[-1] and self._count > 1
        is_narrow = self._dtype != "float64" and self._fits
        return Curve(
            self.name,
            "index" if by_index else "step",
            [point.nth if by_index else point.at for point in points],
            list(zip(*(point.numbers for point in points), strict=True)),
            self._narrow if is_narrow else "float64",
            [point.narrow if is_narrow else point.wide for point in points],
            None if self._first is None else self._first.nth if by_index else self._first.at,
        )


def _apart(numbers: tuple[float | None, ...], dtype: str) -> float | None:
    first, *others = numbers
    if dtype == "int" and not all(number is None or isinstance(number, int) for number in numbers):
        dtype = "float64"
    found = [ulps_apart(first, other, dtype) for other in others if first is not None and other is not None]
    return max(found, default=None)


class _Count(NamedTuple):
    step: int
    differing: Counter[str]
    recorded: int


class _Drawing:
    """Collects what there is to draw, a segment at a time."""

    def __init__(self) -> None:
        self._step = 0
        self._parts = 0  # segments of the step that is under way
        self._count = _Count(0, Counter(), 0)
        self._counts: Thinned[_Count] = Thinned(
            lambda one, other: _Count(one.step, one.differing | other.differing, max(one.recorded, other.recorded))
        )
        self._numbers: dict[str, _Numbers] = {}
        self._differs = False
        self._is_differing_counted = False
        self._is_apart = False

    def add(
        self, readers: Sequence[TraceReader], programs: Sequence[Programs], entries: Sequence[Entry | None]
    ) -> None:
        """Take in the segments that the traces have at one place."""
        first = entries[0]
        segments: list[Segment | None] = []
        for reader, entry in zip(readers, entries, strict=True):
            same = entry is not None and first is not None and entry[:3] == first[:3]
            segments.append(segments[0] if same and segments else None if entry is None else reader.segment_at(entry))
        found = self._compare(segments, programs)
        is_first = bool(found) and not self._differs
        self._differs = self._differs or bool(found)
        self._add_numbers(segments, programs, exactly=is_first)
        recorded = 0 if segments[0] is None else len(segments[0].hashes)
        self._count = _Count(self._step, self._count.differing + found, self._count.recorded + recorded)
        self._parts += 1
        if next(entry for entry in entries if entry is not None).step.optimizer != NO_OPTIMIZER:
            self._end_step()

    def curves(self, names: Sequence[str]) -> Curves:
        """Return what was collected."""
        if self._count.recorded or self._count.differing:
            self._end_step()
        counts = self._counts.points()
        kinds = dict.fromkeys(kind for count in counts for kind in count.differing)
        curves = [numbers.curve() for numbers in self._numbers.values()]
        thinned = [self._counts.is_thinned, *(numbers.is_thinned for numbers in self._numbers.values())]
        return Curves(
            names,
            curves,
            [count.step for count in counts],
            {kind: [count.differing[kind] for count in counts] for kind in kinds},
            [count.recorded for count in counts],
            any(thinned),
        )

    def _compare(self, segments: Sequence[Segment | None], programs: Sequence[Programs]) -> Counter[str]:
        """Return how many values differ, by kind: of the run that has the most."""
        first, most = segments[0], Counter[str]()
        for segment, own in zip(segments[1:], programs[1:], strict=True):
            if segment is first:
                continue
            if first is None or segment is None:
                there, of = (first, programs[0]) if segment is None else (segment, own)
                most |= Counter(of.of(there).kinds.tolist()) if there is not None else Counter()
            else:
                most |= differing(programs[0].of(first), first.hashes, own.of(segment), segment.hashes)
        return most

    def _add_numbers(self, segments: Sequence[Segment | None], programs: Sequence[Programs], *, exactly: bool) -> None:
        found: list[dict[str, list[float]]] = []
        dtypes: dict[str, str] = {}
        for segment, own in zip(segments, programs, strict=True):
            if found and segment is segments[0]:
                found.append(found[0])
            else:
                program = None if segment is None else own.of(segment)
                for number in () if program is None else program.numbers:
                    is_known = dtypes.setdefault(number.name, number.dtype) == number.dtype
                    dtypes[number.name] = number.dtype if is_known else ""
                found.append({} if program is None or segment is None else program.read(segment.hashes))
        for name, dtype in dtypes.items():
            rows = list(zip_longest(*(run.get(name, []) for run in found)))
            for index, row in enumerate(rows):
                at = self._step + (index / len(rows) if self._parts == 0 else 1)
                self._add_row(name, dtype, at, row, exactly=exactly and index == 0)

    def _add_row(self, name: str, dtype: str, at: float, row: tuple[float | None, ...], *, exactly: bool) -> None:
        is_apart = bool(_apart(row, "int" if dtype == "int" else "float64"))
        numbers = self._numbers.get(name)
        if numbers is None:
            if len(self._numbers) >= MOST_NAMES and (self._is_apart or not is_apart):
                return
            numbers = self._numbers[name] = _Numbers(name, dtype)
        self._is_apart = self._is_apart or is_apart
        numbers.add(self._step, at, row, exactly=exactly)

    def _end_step(self) -> None:
        is_first = bool(self._count.differing) and not self._is_differing_counted
        self._is_differing_counted = self._is_differing_counted or is_first
        (self._counts.add_exactly if is_first else self._counts.add)(self._count)
        self._step += 1
        self._parts = 0
        self._count = _Count(self._step, Counter(), 0)
