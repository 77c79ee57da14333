"""`verify` and `assert_reproducible`."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DeterministicError, NotReproducibleError, cut, type_error, value_error
from ..ground.arguments import as_integer, count
from ..ground.synonyms import refuse_unknown
from ..scope.request import Scope
from .performing import in_this_process
from .progress import progress
from .report import Report
from .runs import Control, FunctionTask, Runner
from .verification import Verification


def verify(
    function: Callable[..., Any],
    *args: Any,
    runs: int = 3,
    isolate: bool = False,
    stress: bool = False,
    control: Control = True,
    timeout: float | None = None,
    **kwargs: Any,
) -> Report:
    """Run a function several times under `reproducible()`, and find the first bit that differs, and why.

    Compared are what it returns, the states of the process's generators at its end, what `backward()` is called on, at
    each optimizer step every gradient, parameter and optimizer state, what outermost modules are called with and
    return, what `make_loader` yields, and what `current_run().observe(name, value)` adds. Without `torch.optim` it is a
    step when the leaves that a backward pass reached have changed. The runs are made without recording operations,
    isolated ones but for their first steps; where two differ later, they are replayed up to that step with every
    operation of it recorded, and the verdict names the first operation that differs, its phase, module and line, and
    the reason from a closed list (`deterministic.trace.reasons.Reason`).

    Where there is a process group of several ranks, or torchrun has started them, every rank calls it. They make each
    run together, and the report of each has the worst outcome of all, and where it began.

    State it touches: that of `reproducible` and of `record`, given back after each run. Not thread-safe. On a terminal
    a line on stderr says which run is under way, drawn by a thread of its own.

    Args:
        function: What to run, from its beginning each time. A coroutine function is run by `asyncio.run`.
        args: Its arguments; the same objects in each run.
        runs: How many times, 2 or more.
        isolate: Run each in a fresh interpreter: nothing is carried over. The function must be importable there.
        stress: Vary what must not matter, from run to run: PYTHONHASHSEED, the timing of threads, memory alignment
            and allocation, the number of DataLoader workers, garbage collection. Implies `isolate`.
        control: True: under `reproducible()`, with the enclosing scope's seed, else 42. A scope, `reproducible(...)`:
            under that one. False: as it is.
        timeout: Seconds after which an isolated run is ended, and the verdict is "could not tell"; None: never.
        kwargs: Its keyword arguments; those with one of the names above need `functools.partial`.

    Returns:
        A report, true if all runs were bit-exact; print it.

    Raises:
        TypeError: `function` cannot be called, an argument is one that neither it nor `verify` has, or another is of
            the wrong type.
        ValueError: `runs` is below 2, or `timeout` is no positive number or given without `isolate`; or a list, a tuple
            or a dict to compare contains itself, or is nested deeper than `fingerprint` takes.
        Exception: What the function raises in the first run.

    Example:
        >>> import torch
        >>> from deterministic import verify
        >>> bool(verify(lambda: torch.rand(3), runs=2))
        True
    """
    check_function(function, verify, kwargs)
    _check_control(control)
    count("runs", runs, least=2, remedy="Pass 2 or more: one run has nothing to be compared with.")
    _check_timeout(timeout, isolated=isolate or stress)
    task = FunctionTask(function, args, kwargs)
    run: Runner = in_this_process(task)
    fresh: str | None = "isolate=True"
    with ExitStack() as opened:
        if isolate or stress:
            from .isolated import IsolatedRuns

            run, fresh = opened.enter_context(IsolatedRuns(task, stress=stress, timeout=timeout)), None
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="deterministic-"))
        tell = opened.enter_context(progress(runs))
        report = Verification(task.title, run, runs, Path(folder), control, tell, fresh=fresh).report()
        kept = _KeptTraces(report.traces)
    return replace(report, traces=kept.paths, folder=kept)


class _KeptTraces:
    """Traces in a temporary folder that is there as long as a report that reads them when it is to be drawn."""

    def __init__(self, traces: Mapping[str, Path]) -> None:
        folder = Path(tempfile.mkdtemp(prefix="deterministic-"))
        weakref.finalize(self, _remove, folder, os.getpid())
        self.paths = {name: Path(shutil.move(path, folder)) for name, path in traces.items()}


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # else a copy of the process ends, and the report is in the original
        shutil.rmtree(folder, ignore_errors=True)


def assert_reproducible(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Raise unless a function is bit-exact; for a test.

    Args:
        function: What to run.
        args: Its arguments.
        kwargs: Its keyword arguments, and those of `verify`.

    Raises:
        NotReproducibleError: Two runs differ: the verdict is the message.
        DeterministicError: It could not be told: nothing to compare, or work that was not seen.

    Example:
        >>> import torch
        >>> from deterministic import assert_reproducible
        >>> assert_reproducible(lambda: torch.rand(3), runs=2)
    """
    check_function(function, verify, kwargs, name="assert_reproducible")
    report = verify(function, *args, **kwargs)
    if report.outcome == "different":
        raise NotReproducibleError(str(report))
    if report.outcome == "could not tell":
        raise DeterministicError(str(report))


def check_function(function: Any, by: Callable[..., Any], kwargs: Mapping[str, Any], name: str = "") -> None:
    """Refuse what cannot be called, and an argument that neither it nor `by` has, before anything is run.

    `name` is what the user called, where it hands its arguments on to `by`.
    """
    name = name or by.__name__
    if not callable(function):
        remedy = "Pass the function itself, not its result."
        if isinstance(function, (str, os.PathLike)):
            verb = "verify" if by is verify else "cost"
            command = f"`deterministic {verb} {cut(os.fspath(function))}`"
            remedy = f"Pass a function; for a script there is the command {command}."
        raise type_error(f"{name} needs a function", (f"found: {cut(function)}",), remedy)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return  # of one in C: it says itself what it does not take
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = [p.name for p in inspect.signature(by).parameters.values() if p.kind is p.KEYWORD_ONLY]
        scope = "control=reproducible({})" if "control" in known else ""
        refuse_unknown(name, kwargs, [*known, *(parameter.name for parameter in parameters)], scope)


def _check_control(control: Any) -> None:
    if not isinstance(control, (bool, Scope)):
        seed = as_integer(control)
        raise type_error(
            "control= is neither a truth value nor a scope",
            (f"found: {cut(control)}", "expected: True, False, or reproducible(...)"),
            f"For a seed write control=reproducible(seed={42 if seed is None else cut(seed)}).",
        )


def _check_timeout(timeout: Any, *, isolated: bool) -> None:
    if timeout is not None and (not isolated or not timeout > 0):
        raise value_error(
            "timeout= needs processes of their own, and a positive number of seconds",
            (f"found: timeout={timeout!r}, isolate={isolated}",),
            "Pass isolate=True, or leave timeout out.",
        )
