"""`compare_levels`: what each level of determinism costs, on the user's own function, and what it gives."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DeterministicError, cut, type_error, value_error
from ..ground.arguments import count
from ..ground.config import LEVELS, Level
from ..ground.tables import Answer, aligned, details, html_table, paragraph
from ..trace.comparing.verdict import Outcome
from .report import Report
from .runs import FunctionTask
from .trials import ALLOCATED, Trials
from .verify import check_function

MOST_OPERATIONS = 5  # how many operations are named that cost more than at the baseline

LEAST_SHARE = 0.01
"""The part of the baseline's time below which an operation's difference is not told: it is noise."""


def compare_levels(
    function: Callable[..., Any],
    *args: Any,
    levels: Sequence[Level] = (False, "cudnn", True, "warn"),
    runs: int = 3,
    **kwargs: Any,
) -> LevelComparison:
    """Measure what each level of determinism costs your own function, and whether it is bit-exact there.

    At each level, under `reproducible(deterministic=level)`, the function is run once to warm up, `runs` times with
    nothing else going on, in turn with the other levels (A B C A B C), once for its memory, once profiled, and as
    `verify` runs it: up to `2 * runs + 3` times, and more where two runs differ. What raises at a level, as an
    operation without a deterministic implementation does at True, is told, and the other levels go on. Up to torch 2.9
    cuBLAS is asked once in a process whether it is deterministic: on CUDA, set CUBLAS_WORKSPACE_CONFIG=:4096:8 before
    Python starts, or measure in fresh interpreters with `deterministic cost`.

    State it touches: that of `reproducible` and of `verify`, given back after each run; the peak statistics of CUDA
    devices and, on Linux, the process's own (VmHWM) begin anew. Not thread-safe.

    Args:
        function: What to run, from its beginning each time. A coroutine function is run by `asyncio.run`.
        args: Its arguments; the same objects in each run.
        levels: Which: False, "cudnn", True and "warn", as in `reproducible`. Times are told as ratios to False, or to
            the first of them where False is not among them.
        runs: How many are timed, and how many compared, 2 or more.
        kwargs: Its keyword arguments; those with one of the names above need `functools.partial`.

    Returns:
        A table; print it. `to_json()` gives the same as data.

    Raises:
        TypeError: `function` cannot be called, an argument is one that neither it nor `compare_levels` has, or another
            is of the wrong type.
        ValueError: `runs` is below 2, or `levels` is empty, or names something else than a level, or one twice.
        Exception: What the function raises, if it does at every level.

    Example:
        >>> import torch
        >>> from deterministic import compare_levels
        >>> found = compare_levels(lambda: torch.ones(64, 64).sum().item(), levels=(False, True), runs=2)
        >>> [result.outcome for result in found.results]
        ['same', 'same']
    """
    check_function(function, compare_levels, kwargs)
    _check_levels(levels)
    count("runs", runs, least=2, remedy="Pass 2 or more: one run has no spread.")
    return compare(Trials(FunctionTask(function, args, kwargs)), levels, runs)


def _check_levels(levels: Any) -> None:
    known = tuple(f"{level!r}: {text}" for level, text in LEVELS.items())
    if not isinstance(levels, (list, tuple)):
        raise type_error("levels= is not a list of levels", (f"found: {cut(levels)}", *known), "Pass some of these.")
    for one in levels:
        # 1 == True and 0 == False, and neither is a level.
        if not isinstance(one, (bool, str)) or one not in LEVELS:
            raise value_error("unknown level in levels=", (f"found: {cut(one)}", *known), "Pass some of these.")
    if not levels or len(set(levels)) < len(levels):
        what = "names a level twice" if levels else "is empty"
        raise value_error(f"levels= {what}", (f"found: {cut(levels)}", *known), "Name each level once.")


def compare(
    trials: Trials, levels: Sequence[Level], runs: int, progress: Callable[[str], None] = lambda what: None
) -> LevelComparison:
    """Return what each level costs, after `progress` was told of each stage; raise what it raises at every level."""
    with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:

        def verify(level: Level) -> Report:
            return trials.verify(level, runs, Path(tempfile.mkdtemp(dir=folder)))

        timed = ((f"run {number + 1} of {runs}", trials.seconds) for number in range(runs))
        stages: list[tuple[str, Callable[[Level], Any]]] = [("warming up", trials.seconds), *timed]
        stages += [("its memory", trials.peak), ("profiled", trials.profile), ("is it bit-exact", verify)]
        measured: dict[Level, list[Any]] = {level: [] for level in levels}
        errors: dict[Level, Exception] = {}
        for what, measure in stages:
            for level, so_far in measured.items():
                if level not in errors:
                    progress(f"{level!r}: {what}")
                    try:
                        so_far.append(measure(level))
                    except Exception as error:  # noqa: BLE001 - a level at which it raises is a part of the answer
                        errors[level] = error
    if len(errors) == len(measured):
        raise errors[levels[0]]
    baseline = False if False in measured else levels[0]
    beside = measured[baseline] if baseline not in errors else None
    results = [
        _refusal(level, errors[level]) if level in errors else _result(level, so_far, beside)
        for level, so_far in measured.items()
    ]
    return LevelComparison(trials.title, trials.where, runs, baseline, results)


def _result(level: Level, measured: Sequence[Any], baseline: Sequence[Any] | None) -> LevelResult:
    """Return what a level cost, beside the level that ratios refer to."""
    _, *seconds, peak, profile, report = measured
    ratios: list[float] = []
    costlier: list[Costlier] = []
    if baseline is not None:
        _, *others, _, profile_of_baseline, _ = baseline
        ratios = [own / other for own, other in zip(seconds, others, strict=True)]
        if min(ratios) > 1:  # else it is as likely that nothing costs more
            costlier = _costlier(profile.seconds, profile_of_baseline.seconds)
    return LevelResult(
        level,
        seconds=statistics.median(seconds),
        ratio=statistics.median(ratios) if ratios else None,
        ratios=ratios,
        host_peak=peak.host,
        cuda_peak=peak.cuda,
        peak_is=peak.how,
        outcome=report.outcome,
        difference=_difference(report),
        device=profile.device,
        costlier=costlier,
    )


def _refusal(level: Level, error: Exception) -> LevelResult:
    """Return what a level raised; an error of this library tells of the one that a script raised elsewhere."""
    line = next(iter(str(error).splitlines()), "")
    name, said, _ = str(error).partition(" does not have a deterministic implementation")
    return LevelResult(
        level,
        error=line if isinstance(error, DeterministicError) else f"{type(error).__name__}: {line}",
        operation=name.split()[-1] if said and name.split() else "",
    )


def _difference(report: Report) -> str:
    """Return where the runs differ first, or why it cannot be told, in one line."""
    if report.outcome == "could not tell":
        return report.differs or next(iter(report.reasons), "")
    moment = None if report.divergence is None else report.divergence.moment
    if moment is None:
        return ""
    name = moment.site.name.removesuffix(".default") if moment.site.kind == "operation" else moment.site.name
    return " ".join(filter(None, ["first", name or moment.site.kind, moment.site.place]))


def _costlier(own: Mapping[str, float], baseline: Mapping[str, float]) -> list[Costlier]:
    least = LEAST_SHARE * sum(baseline.values())
    more = [Costlier(name, taken - baseline.get(name, 0.0)) for name, taken in own.items()]
    most = sorted(more, key=lambda operation: -operation.seconds)[:MOST_OPERATIONS]
    return [operation for operation in most if operation.seconds >= least and operation.seconds > 0]


class Costlier(NamedTuple):
    """An operation that took longer than at the baseline, and how much, without what it called."""

    name: str
    seconds: float


@dataclass(frozen=True)
class LevelResult:
    """What was found at one level."""

    level: Level
    seconds: float | None = None  # the median of the timed runs; None if it raised
    ratio: float | None = None  # the median of `ratios`; None if there are none
    ratios: Sequence[float] = field(default_factory=list)  # of each run's time to the baseline's in the same round
    host_peak: int | None = None  # how many bytes of memory it took at its peak; None if that is not known
    cuda_peak: int | None = None  # and on CUDA devices; None if none was used
    peak_is: str = ""  # what `host_peak` is
    outcome: Outcome | None = None  # whether it is bit-exact: that of a report of `verify`; None if it raised
    difference: str = ""  # where it differs first, or why it could not be told; empty if it is the same
    device: str = ""  # of which the times in `costlier` are
    costlier: Sequence[Costlier] = field(default_factory=list)  # what took most more than at the baseline
    error: str | None = None  # what it raised, in one line; None if it did not
    operation: str = ""  # the one without a deterministic implementation that it raised for; empty if for none

    def as_data(self) -> dict[str, Any]:
        return {**vars(self), "costlier": [operation._asdict() for operation in self.costlier]}


@dataclass(frozen=True, repr=False)
class LevelComparison(Answer):
    """What each level costs, and gives."""

    title: str  # what was run
    where: str  # in which processes
    runs: int  # how many were timed at each level, and how many compared
    baseline: Level  # which ratios refer to
    results: Sequence[LevelResult]  # one for each level, in the order in which they were named

    def as_data(self) -> dict[str, Any]:
        return {**vars(self), "results": [result.as_data() for result in self.results]}

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
        verdict = {"same": "yes", "different": "no"}.get(result.outcome or "", "could not tell")
        verdict += f", {result.difference}" if result.outcome == "different" and result.difference else ""
        if result.operation:
            verdict = f"raised: {result.operation} has no deterministic implementation"
        elif result.error is not None:
            verdict = f"raised {result.error}"
        measured = [_time(result.seconds), self._ratio(result), _bytes(result.host_peak), *cuda]
        return [repr(result.level), *measured, verdict]

    def _ratio(self, result: LevelResult) -> str:
        if result.ratio is None:
            return "-"
        spread = f" ({min(result.ratios):.2f}-{max(result.ratios):.2f})" if result.level != self.baseline else ""
        return f"{result.ratio:.2f} x{spread}"

    @property
    def _has_cuda(self) -> bool:
        return any(result.cuda_peak is not None for result in self.results)

    def _costs(self) -> list[str]:
        costly = [result for result in self.results if result.costlier]
        if not costly:
            return []
        how = f"self time on {costly[0].device}, one profiled run of each"
        operations = [", ".join(f"{name} +{_time(seconds)}" for name, seconds in one.costlier) for one in costly]
        levels = [repr(result.level) for result in costly]
        head = f"what took longer than at {self.baseline!r}, the largest increase first ({how})"
        return [head, *aligned([*zip(levels, operations, strict=True)])]

    def _legend(self) -> list[str]:
        untold = {result.difference: None for result in self.results if result.outcome == "could not tell"}
        lines = [
            *(f"could not tell: {why}" for why in untold if why),
            f"time: the median; ratio to {self.baseline!r} within each round: median (lowest-highest)",
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
