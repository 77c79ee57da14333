"""Traces of runs that are put together record by record, and what comparing them shows."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deterministic.trace.comparing.compare import compare
from deterministic.trace.comparing.diff import Diff, diff_files
from deterministic.trace.comparing.divergence import Comparison, Divergence, Moment
from deterministic.trace.comparing.reasons import Reason
from deterministic.trace.comparing.verdict import Verdict
from deterministic.trace.file.model import LOWEST_LEVEL, TRACE_LEVELS, Kind, Role, Site, TraceLevel, Value
from deterministic.trace.file.store import TraceReader, TraceWriter
from deterministic.trace.recording.log import Log

FLOAT = "float32[2]"
HEADER: Mapping[str, Any] = {"hashes": ["one", "two"]}
FOOTER: Mapping[str, Any] = {"compared": 1, "raised": None}


class Rec(NamedTuple):
    """A record: its site, and the hash of each of the site's values."""

    site: Site
    hashes: tuple[int, ...]


class Part(NamedTuple):
    """One value of a record, and its hash."""

    value: Value
    hash: int


def part(role: Role, bits: int, type: str = FLOAT, name: str = "", origin: str = "") -> Part:
    return Part(Value(role, type, name, origin), bits)


def number(value: float, name: str = "other") -> Part:
    if isinstance(value, float):
        return part("number", int.from_bytes(struct.pack("<d", value), "little"), "float", name)
    return part("number", value % 2**64, type(value).__name__, name)


def rec(kind: Kind, name: str, *parts: Part, **where: Any) -> Rec:
    return Rec(
        Site(kind, name, values=tuple(part.value for part in parts), **where), tuple(part.hash for part in parts)
    )


def op(output: int = 0, name: str = "mul.Tensor", *given: Part, line: int = 1, type: str = FLOAT, **where: Any) -> Rec:
    """An operation with one output; it is at the line of its name."""
    at: dict[str, Any] = {"phase": "forward", "module": "b.3", "module_class": "Linear", "root_class": "GPT"}
    at |= {"place": f"train.py:{line}", "function": "step", "source": "of train.py", **where}
    return rec("operation", f"aten.{name}", *given, part("output", output, type), **at)


def ops(*outputs: int) -> list[Rec]:
    """Operations at a line each."""
    return [op(output, line=line) for line, output in enumerate(outputs)]


class Ended(NamedTuple):
    """A step of an optimizer: which, which of its steps, and the records that led to it."""

    optimizer: int
    number: int
    records: Sequence[Rec]


def step(count: int, *records: Rec, optimizer: int = 0, weight: int | None = None, cls: str = "SGD") -> Ended:
    weights = [] if weight is None else [rec("parameter", cls, part("output", weight, name="weight"))]
    return Ended(optimizer, count, [*records, *weights])


def is_recorded(value: Value, level: TraceLevel) -> bool:
    return value.role != "input" or bool(value.origin) or level == "ops+inputs"


def at_level(records: Iterable[Rec], level: TraceLevel) -> list[Rec]:
    """What of these records a recorder writes at a level."""
    found = []
    for site, hashes in records:
        if TRACE_LEVELS.index(LOWEST_LEVEL.get(site.kind, "values")) > max(1, TRACE_LEVELS.index(level)):
            continue
        kept = [(value, bits) for value, bits in zip(site.values, hashes, strict=True) if is_recorded(value, level)]
        found.append(Rec(site._replace(values=tuple(v for v, _ in kept)), tuple(bits for _, bits in kept)))
    return found


def write(
    path: Path,
    steps: Iterable[Ended] = (),
    tail: Iterable[Rec] | None = (),
    *,
    level: TraceLevel = "ops",
    header: Mapping[str, Any] | None = None,
    footer: Mapping[str, Any] | None = FOOTER,
    first_sites: Sequence[Site] = (),
) -> Path:
    """Write a run as it is recorded at a level; without a tail and a footer as if it was killed.

    Args:
        path: Where to.
        steps: Those that it made.
        tail: What followed.
        level: What to record.
        header: To add to the header.
        footer: To add to the footer; None: there is none.
        first_sites: Sites that are numbered first.
    """
    with TraceWriter(path, {**HEADER, "level": level, **(header or {})}) as writer:
        log = Log(writer, level)
        for site in first_sites:
            log.site(site)

        def add(records: Iterable[Rec]) -> None:
            for site, hashes in at_level(records, level):
                log.add(log.site(site), hashes)

        for optimizer, count, records in steps:
            add(records)
            log.end_step(optimizer, count)
        if tail is not None:
            add(tail)
        if footer is not None:
            log.end()
            writer.close({**FOOTER, **footer})
    return path


class Counting(TraceReader):
    """Counts the segments that are loaded."""

    loaded = 0

    def segment_at(self, entry: Any) -> Any:
        self.loaded += 1
        return super().segment_at(entry)


def compared(a: Path, b: Path) -> tuple[Comparison, int]:
    """Return the comparison of two traces, and how many segments of the first were loaded for it."""
    one, other = Counting(a), Counting(b)
    with one, other:
        return compare(one, other), one.loaded


def changed(records: Sequence[Rec], *places: int) -> list[Rec]:
    """The same records, some with another hash."""
    return [Rec(site, (hashes[0] + 100 * (i in places),)) for i, (site, hashes) in enumerate(records)]


def lines(divergence: Divergence) -> tuple[str | None, str | None]:
    first, second = divergence.first, divergence.second
    return (first.site.place if first else None, second.site.place if second else None)


def counts(divergence: Divergence) -> tuple[int, int, int]:
    return divergence.only_first, divergence.only_second, divergence.later_records


class Pair:
    """Writes two runs, and compares them."""

    def __init__(self, folder: Path) -> None:
        self.paths = folder / "a.trace", folder / "b.trace"

    def write(self, a: Any, b: Any, *, tails: Any = ((), ()), levels: Any = ("ops", "ops"), **how: Any) -> None:
        for path, steps, tail, level in zip(self.paths, (a, b), tails, levels, strict=True):
            write(path, steps, tail, level=level, **how)

    def compare(self, a: Any = (), b: Any = (), **how: Any) -> Comparison:
        self.write(a, b, **how)
        return compared(*self.paths)[0]

    def divergence(self, a: Any = (), b: Any = (), **how: Any) -> Divergence:
        found = self.compare(a, b, **how).divergence
        assert found is not None
        return found

    def verdict(self, a: Any = (), b: Any = (), **how: Any) -> Verdict:
        self.write(a, b, **how)
        return diff_files(*self.paths, ("a", "b"))


def of_one_step(compare: Callable[..., Any], a: Sequence[Rec], b: Sequence[Rec], **how: Any) -> Any:
    return compare([step(0, *a)], [step(0, *b)], **how)


def moment(record: Rec, index: int = 0) -> Moment:
    return Moment(record.site, record.hashes, index)


STEPS = [step(count, *ops(1, 2), weight=count) for count in range(4)]
OTHERS = [*STEPS[:2], step(2, *ops(1, 3), weight=9), step(3, *ops(1, 3), weight=9)]


def killed(path: Path, steps: Any, **how: Any) -> Path:
    return write(path, steps, None, footer=None, **how)


def reason(found: Diff) -> Reason | None:
    (verdict,) = found.verdicts
    return verdict.cause.reason if verdict.cause else None


def notes(found: Diff) -> list[str]:
    return [note for verdict in found.verdicts for note in verdict.notes]
