"""What `compare_levels` found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..ground.config import Level
from ..ground.tables import aligned, details, html_table, paragraph
from ..trace.comparing.verdict import Outcome
from .trials import ALLOCATED


class Costlier(NamedTuple):
    """An operation that took longer than at the baseline.

    Attributes:
        name: Of the operation.
        seconds: How much longer, without what it called.
    """

    name: str
    seconds: float


@dataclass(frozen=True)
class LevelResult:
    """What was found at one level.

    Attributes:
        level: Which.
        seconds: The median of the timed runs; None if it raised.
        ratio: The median of `ratios`; None if there are none.
        ratios: The time of each run, as a ratio to that of the baseline in the same round.
        host_peak: How many bytes of memory it took at its peak; None if that is not known.
        cuda_peak: And on CUDA devices; None if none was used.
        peak_is: What `host_peak` is.
        outcome: Whether it is bit-exact at this level: that of a report of `verify`; None if it raised.
        difference: Where it differs first, or why it could not be told; empty if it is the same.
        device: Of which the times in `costlier` are.
        costlier: The operations that took most more than at the baseline.
        error: What it raised, in one line; None if it did not.
        operation: The operation without a deterministic implementation that it raised for; empty if for none.
    """

    level: Level
    seconds: float | None = None
    ratio: float | None = None
    ratios: Sequence[float] = ()
    host_peak: int | None = None
    cuda_peak: int | None = None
    peak_is: str = ""
    outcome: Outcome | None = None
    difference: str = ""
    device: str = ""
    costlier: Sequence[Costlier] = ()
    error: str | None = None
    operation: str = ""

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            **vars(self),
            "ratios": list(self.ratios),
            "costlier": [operation._asdict() for operation in self.costlier],
        }


@dataclass(frozen=True)
class LevelComparison:
    """What each level costs, and gives.

    Attributes:
        title: What was run.
        where: In which processes.
        runs: How many were timed at each level, and how many compared.
        baseline: The level that ratios refer to.
        results: One for each level, in the order in which they were named.
    """

    title: str
    where: str
    runs: int
    baseline: Level
    results: Sequence[LevelResult]

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {**vars(self), "results": [result.as_data() for result in self.results]}

    def to_json(self, **kwargs: Any) -> str:
        """Return it as JSON text.

        Args:
            kwargs: For `json.dumps`.
        """
        return json.dumps(self.as_data(), **kwargs)

    @property
    def headline(self) -> str:
        """What was done, in one line."""
        return f"{self.title}: {len(self.results)} levels side by side, {self.runs} runs of each, {self.where}"

    def __str__(self) -> str:
        table = aligned([self._head(), *map(self._row, self.results)])
        return "\n".join([self.headline, *table, *self._costs(), *self._legend()])

    def _repr_html_(self) -> str:
        return "".join(
            [
                paragraph(self.headline),
                html_table([*map(self._row, self.results)], head=self._head()),
                details("what costs more, and what the numbers are", "\n".join([*self._costs(), *self._legend()])),
                details("JSON", self.to_json(indent=2)),
            ]
        )

    def _head(self) -> list[str]:
        cuda = ["CUDA memory"] if self._has_cuda else []
        return ["level", "time", f"of {self.baseline!r}", "memory", *cuda, "bit-exact"]

    def _row(self, result: LevelResult) -> list[str]:
        cuda = [_bytes(result.cuda_peak)] if self._has_cuda else []
        said = {"same": "yes", "different": "no", "could not tell": "could not tell"}
        if result.error is not None:
            told = f"raised: {result.operation} has no deterministic implementation"
            verdict = told if result.operation else f"raised {result.error}"
        else:
            verdict = ", ".join(filter(None, [said[result.outcome or "could not tell"], result.difference]))
        return [
            repr(result.level),
            _time(result.seconds),
            self._ratio(result),
            _bytes(result.host_peak),
            *cuda,
            verdict,
        ]

    def _ratio(self, result: LevelResult) -> str:
        if result.ratio is None:
            return "-"
        spread = f" ({min(result.ratios):.2f}-{max(result.ratios):.2f})" if result.level != self.baseline else ""
        return f"{result.ratio:.2f} x{spread}"

    @property
    def _has_cuda(self) -> bool:
        return any(result.cuda_peak is not None for result in self.results)

    def _costs(self) -> list[str]:
        """Return the lines on what costs more."""
        costly = [result for result in self.results if result.costlier]
        if not costly:
            return []
        how = f"self time on {costly[0].device}, one profiled run of each"
        operations = [", ".join(f"{name} +{_time(seconds)}" for name, seconds in one.costlier) for one in costly]
        levels = [repr(result.level) for result in costly]
        return [f"costs most more than at {self.baseline!r} ({how})", *aligned([*zip(levels, operations, strict=True)])]

    def _legend(self) -> list[str]:
        """Return the lines on what the numbers are."""
        lines = [
            f"time: the median; the ratio is that of each round to {self.baseline!r} in it: median (lowest-highest)",
            *(f"memory: {peak_is}" for peak_is in {result.peak_is: None for result in self.results if result.peak_is}),
        ]
        return [*lines, f"CUDA memory: {ALLOCATED}"] if self._has_cuda else lines


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.3g} us"


def _bytes(size: int | None) -> str:
    return "-" if size is None else f"+{size / 2**20:.1f} MiB"
