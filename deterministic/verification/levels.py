"""`compare_levels`: what each level of determinism costs, on the user's own function, and what it gives."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DeterministicError, cut, explain
from ..ground.config import LEVELS, Level
from .comparison import Costlier, LevelComparison, LevelResult
from .report import Report
from .tasks import FunctionTask
from .trials import Peak, Profile, Trials
from .verify import check_function, check_runs

MOST_OPERATIONS = 5
"""How many operations are named that cost more than at the baseline."""

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
        TypeError: `function` cannot be called, or another argument is of the wrong type.
        ValueError: `runs` is below 2, or `levels` is empty, or names something else than a level, or one twice.
        Exception: What the function raises, if it does at every level.

    Example:
        >>> import torch
        >>> from deterministic import compare_levels
        >>> found = compare_levels(lambda: torch.ones(64, 64).sum().item(), levels=(False, True), runs=2)
        >>> [result.outcome for result in found.results]
        ['same', 'same']
    """
    check_function(function, "compare_levels")
    _check_levels(levels)
    check_runs(runs, "one run has no spread")
    return compare(Trials(FunctionTask(function, args, kwargs)), levels, runs)


def _check_levels(levels: Any) -> None:
    known = tuple(f"{level!r}: {text}" for level, text in LEVELS.items())
    if not isinstance(levels, (list, tuple)):
        raise TypeError(
            explain("levels= is no list of levels", (f"found: {cut(levels)}", *known), "Pass some of these.")
        )
    for level in levels:
        # 1 == True and 0 == False, and neither is a level.
        if not isinstance(level, (bool, str)) or level not in LEVELS:
            raise ValueError(explain("levels= names no level", (f"found: {cut(level)}", *known), "Pass some of these."))
    if not levels or len(set(levels)) < len(levels):
        what = "names a level twice" if levels else "is empty"
        raise ValueError(explain(f"levels= {what}", (f"found: {cut(levels)}", *known), "Name each level once."))


def compare(
    trials: Trials, levels: Sequence[Level], runs: int, progress: Callable[[str], None] = lambda what: None
) -> LevelComparison:
    """Return what each level costs.

    Args:
        trials: Runs it.
        levels: Which.
        runs: How many are timed, and how many compared.
        progress: Told what comes next.

    Raises:
        Exception: What it raises at every level.
    """
    timed = ((f"run {number + 1} of {runs}", _AtLevel.time) for number in range(runs))
    stages = [("warming up", _AtLevel.warm_up), *timed, ("its memory", _AtLevel.measure_memory)]
    stages += [("profiled", _AtLevel.measure_operations), ("is it bit-exact", _AtLevel.verify)]
    with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
        of_levels = [_AtLevel(trials, level, runs, Path(folder, str(index))) for index, level in enumerate(levels)]
        for what, do in stages:
            for one in of_levels:
                if one.error is None:
                    progress(f"{one.level!r}: {what}")
                    try:
                        do(one)
                    except Exception as error:  # noqa: BLE001 - a level at which it raises is a part of the answer
                        one.error = error
        errors = [one.error for one in of_levels if one.error is not None]
        if len(errors) == len(of_levels):
            raise errors[0]
        baseline = next((one for one in of_levels if one.level is False), of_levels[0])
        results = [one.result(baseline) for one in of_levels]
    return LevelComparison(trials.title, trials.where, runs, baseline.level, results)


class _AtLevel:
    """What is known of a level so far."""

    def __init__(self, trials: Trials, level: Level, runs: int, folder: Path) -> None:
        self._trials, self._runs, self._folder = trials, runs, folder
        self.level = level
        self.error: Exception | None = None
        self._seconds: list[float] = []
        self._peak = Peak(None, None, "")
        self._profile = Profile("", {})
        self._report: Report | None = None

    def warm_up(self) -> None:
        self._trials.seconds(self.level)

    def time(self) -> None:
        self._seconds.append(self._trials.seconds(self.level))

    def measure_memory(self) -> None:
        self._peak = self._trials.peak(self.level)

    def measure_operations(self) -> None:
        self._profile = self._trials.profile(self.level)

    def verify(self) -> None:
        self._folder.mkdir()
        self._report = self._trials.verify(self.level, self._runs, self._folder)

    def result(self, baseline: _AtLevel) -> LevelResult:
        """Return it for people, beside the level that ratios refer to."""
        if self.error is not None:
            return LevelResult(self.level, error=_first_line(self.error), operation=_refused(self.error))
        timed = zip(self._seconds, baseline._seconds, strict=True) if baseline.error is None else ()
        ratios = [own / other for own, other in timed]
        report = self._report
        return LevelResult(
            self.level,
            seconds=statistics.median(self._seconds),
            ratio=statistics.median(ratios) if ratios else None,
            ratios=ratios,
            host_peak=self._peak.host,
            cuda_peak=self._peak.cuda,
            peak_is=self._peak.how,
            outcome=None if report is None else report.outcome,  # a report is false unless it is bit-exact
            difference="" if report is None else _difference(report),
            device=self._profile.device,
            costlier=_costlier(self._profile.seconds, baseline._profile.seconds) if baseline.error is None else [],
        )


def _first_line(error: Exception) -> str:
    """Return what was raised; an error of this library tells of the one that a script raised elsewhere."""
    line = next(iter(str(error).splitlines()), "")
    return line if isinstance(error, DeterministicError) else f"{type(error).__name__}: {line}"


def _refused(error: Exception) -> str:
    """Return the operation that has no deterministic implementation, if that is what torch says."""
    name, said, _ = str(error).partition(" does not have a deterministic implementation")
    return name.split()[-1] if said and name.split() else ""


def _difference(report: Report) -> str:
    """Return where the runs differ first, or why it cannot be told, in one line."""
    if report.outcome == "could not tell":
        return report.differs or next(iter(report.reasons), "")
    divergence = report.divergence
    moment = None if divergence is None else divergence.first or divergence.second
    if moment is None:
        return ""
    name = moment.site.name.removesuffix(".default") if moment.site.kind == "operation" else moment.site.name
    return " ".join(filter(None, ["first", name or moment.site.kind, moment.site.place]))


def _costlier(own: Mapping[str, float], baseline: Mapping[str, float]) -> list[Costlier]:
    least = LEAST_SHARE * sum(baseline.values())
    more = [Costlier(name, taken - baseline.get(name, 0.0)) for name, taken in own.items()]
    most = sorted(more, key=lambda operation: -operation.seconds)[:MOST_OPERATIONS]
    return [operation for operation in most if operation.seconds >= least and operation.seconds > 0]
