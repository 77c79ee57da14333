"""`compare_levels`: what each level of determinism costs, on the user's own function, and what it gives."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import DeterministicError, cut, explain
from ..ground.config import LEVELS, Level
from .comparison import Costlier, LevelComparison, LevelResult
from .memory import Peak
from .report import Report
from .tasks import FunctionTask
from .trials import Profile, Trials, TrialsHere

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
    if not callable(function):
        raise TypeError(
            explain(
                "compare_levels needs a function",
                (f"found: {cut(function)}",),
                "Pass the function itself, not its result.",
            )
        )
    check_levels(levels, runs)
    return compare(TrialsHere(FunctionTask(function, args, kwargs)), levels, runs)


def check_levels(levels: Any, runs: Any) -> None:
    """Refuse what cannot be compared, before anything is run.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: Something has no meaning.
    """
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
    if isinstance(runs, bool) or not isinstance(runs, int):
        raise TypeError(explain("runs= is no integer", (f"found: {cut(runs)}",), "Pass how many to time, 2 or more."))
    if runs < 2:
        raise ValueError(
            explain("one run has no spread", (f"found: runs={runs}", "expected: 2 or more"), "Pass 2 or more.")
        )


@dataclass
class _Found:
    """What is known of a level so far."""

    seconds: list[float] = field(default_factory=list)
    peak: Peak | None = None
    profile: Profile | None = None
    report: Report | None = None
    error: Exception | None = None


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
    found = {level: _Found() for level in levels}
    with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
        for what, do in _stages(trials, runs, Path(folder)):
            for level, so_far in found.items():
                if so_far.error is None:
                    progress(f"{level!r}: {what}")
                    try:
                        do(level, so_far)
                    except Exception as error:  # noqa: BLE001 - a level at which it raises is a part of the answer
                        so_far.error = error
    errors = [so_far.error for so_far in found.values() if so_far.error is not None]
    if len(errors) == len(found):
        raise errors[0]
    baseline = False if False in found else levels[0]
    return LevelComparison(
        title=trials.title,
        where=trials.where,
        runs=runs,
        baseline=baseline,
        results=[_result(level, so_far, found[baseline]) for level, so_far in found.items()],
    )


def _stages(trials: Trials, runs: int, folder: Path) -> Iterator[tuple[str, Callable[[Level, _Found], None]]]:
    """Yield what is done at each level in turn, and what it is called."""
    folders = count()

    def warm_up(level: Level, found: _Found) -> None:
        trials.seconds(level)

    def time(level: Level, found: _Found) -> None:
        found.seconds.append(trials.seconds(level))

    def peak(level: Level, found: _Found) -> None:
        found.peak = trials.peak(level)

    def profile(level: Level, found: _Found) -> None:
        found.profile = trials.profile(level)

    def verify(level: Level, found: _Found) -> None:
        own = folder / str(next(folders))
        own.mkdir()
        found.report = trials.verify(level, runs, own)

    yield "warming up", warm_up
    for number in range(runs):
        yield f"run {number + 1} of {runs}", time
    yield "its memory", peak
    yield "profiled", profile
    yield "is it bit-exact", verify


def _result(level: Level, found: _Found, baseline: _Found) -> LevelResult:
    if found.error is not None:
        return LevelResult(level, error=_first_line(found.error), operation=_refused(found.error))
    ratios: list[float] = []
    if baseline.error is None:
        ratios = [own / other for own, other in zip(found.seconds, baseline.seconds, strict=True)]
    peak, report = found.peak, found.report
    return LevelResult(
        level,
        seconds=statistics.median(found.seconds),
        ratio=statistics.median(ratios) if ratios else None,
        ratios=ratios,
        host_peak=peak.host if peak else None,
        cuda_peak=peak.cuda if peak else None,
        peak_is=peak.how if peak else "",
        outcome=None if report is None else report.outcome,  # a report is false unless it is bit-exact
        difference="" if report is None else _difference(report),
        device=found.profile.device if found.profile else "",
        costlier=_costlier(found.profile, baseline.profile),
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


def _costlier(own: Profile | None, baseline: Profile | None) -> list[Costlier]:
    if own is None or baseline is None:
        return []
    least = LEAST_SHARE * sum(baseline.seconds.values())
    more = [Costlier(name, taken - baseline.seconds.get(name, 0.0)) for name, taken in own.seconds.items()]
    most = sorted(more, key=lambda operation: -operation.seconds)[:MOST_OPERATIONS]
    return [operation for operation in most if operation.seconds >= least and operation.seconds > 0]
