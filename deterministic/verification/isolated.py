"""Each repetition in a fresh interpreter: nothing is carried over, and a crash ends that repetition alone."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing import process, spawn
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import DeterministicError, TraceError, type_error
from ..ground.launch import HASH_SEED
from ..scope.request import Scope
from ..trace.file.store import TraceReader
from .jobs import STEPS, RepetitionJob
from .processes import Job, RunFailedError, answer_in, command_for, ending, last_lines, started
from .ranks import meeting
from .runs import Control, Done, FunctionTask, Plan, Task
from .scripts import NotRunnableError, ScriptTask
from .stress import Conditions

_POLL = 0.05
_STDERR = 2

_ROOM = 2 * 2**30
"""Bytes that are free before an interpreter is made ready beside a run: torch takes some 300 MB of them."""

_NOT_SENT = ("name", "authkey", "start_method")
"""Of what `multiprocessing` prepares a process with: a repetition is no worker of its."""


class _Started(NamedTuple):
    """An interpreter with its folder; what ends it, and what removes its folder, too."""

    environment: Mapping[str, str]
    folder: Path
    child: subprocess.Popen[bytes]
    running: ExitStack
    opened: ExitStack


def _start(job: Job | None, environment: Mapping[str, str], *output: int | IO[bytes]) -> _Started:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="deterministic-")))
        running = opened.enter_context(ExitStack())
        child = running.enter_context(started(job, folder, environment, *output))
        return _Started(environment, folder, child, running, opened.pop_all())


class IsolatedRuns:
    """Runs each repetition of a task in a fresh interpreter; a context manager, which ends the one that is ready.

    The function and its arguments are pickled now, so each repetition gets them as they are now.

    Args:
        stress: Vary what must not matter: see `stress.Conditions`.
        timeout: Seconds after which a repetition is ended; None: never.
        show_output: Let what it prints through, to stderr, instead of into files beside the trace: with ".out", and
            with ".log" what it writes to stderr.
        jobs: 2: while a repetition runs, the interpreter of the next one starts and imports torch, and then waits; 1:
            it starts when the one before is over. None: 2 where there is a processor and the memory for it.

    Raises:
        TypeError: The function, or one of its arguments, cannot be made in another process.
        DeterministicError: The main module is being imported by such a process.
    """

    def __init__(
        self, task: Task, *, stress: bool, timeout: float | None, show_output: bool = False, jobs: int | None = None
    ) -> None:
        self._preparation: Mapping[str, Any] = {}
        if isinstance(task, ScriptTask):
            self._task: ScriptTask | bytes = task
        elif isinstance(task, FunctionTask):
            self._preparation = _preparation()
            self._task = _pickled(task, self._preparation)
        self._title = task.title
        self._stress = stress
        self._timeout = timeout
        self._show_output = show_output
        self._jobs = jobs
        self._ready: _Started | None = None

    def __enter__(self) -> IsolatedRuns:
        return self

    def __exit__(self, *error: object) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.opened.close()

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        """Run a repetition to its end, and leave nothing running; see `Runner`."""
        job = self._job(repetition, plan)
        printed = [job.plan.path.with_suffix(suffix) for suffix in (".out", ".log")]
        done: Done
        meets = meeting()
        environment = {**_environment(job), **meets}
        with ExitStack() as opened:
            files = [opened.enter_context(open(path, "wb")) for path in printed]
            began = time.monotonic()
            run, self._ready = self._ready, None
            if run is not None:
                opened.enter_context(run.opened)
            if run is not None and run.environment == environment and run.child.poll() is None:
                command_for(job.do, run.folder, () if self._show_output else printed)
                if run.child.stdin is not None:
                    run.child.stdin.close()
            else:
                run = _start(job.do, environment, *([_STDERR] * 2 if self._show_output else files))
                opened.enter_context(run.opened)
            folder, child = run.folder, run.child
            if plan.more and not meets and (_has_room() if self._jobs is None else self._jobs > 1):
                output = _STDERR if self._show_output else subprocess.DEVNULL
                self._ready = _start(None, _environment(self._job(repetition + 1, plan)), output, output)
            cut = self._wait(child, folder / STEPS, on_step)
            run.running.close()
            answer = answer_in(folder)
            if answer is not None:
                done, error = answer
                if done.raised is not None:
                    done.error = self._failure(done.raised, error, last_lines(printed))
            else:
                lines = [cut or ending(child.returncode), *last_lines(printed)]
                crashed = job.plan.ahead and not cut and child.returncode < 0 and not (folder / STEPS).exists()
                done = Done(seconds=time.monotonic() - began, cut=lines, watched=crashed)
                _remove_unless_readable(plan.path)
        done.varied = "" if job.conditions is None else str(job.conditions)
        return done

    def _job(self, repetition: int, plan: Plan) -> RepetitionJob:
        conditions = Conditions(repetition, _hash_seed()) if self._stress else None
        sent = replace(plan, path=plan.path.absolute(), control=False)
        return RepetitionJob(sent, control_for_job(plan.control), self._task, self._preparation, conditions)

    def _wait(self, child: subprocess.Popen[bytes], steps: Path, on_step: Callable[[int], None]) -> str:
        """Wait until a process has ended, and return why it is to be ended; "" if it has ended itself."""
        end = time.monotonic() + (math.inf if self._timeout is None else self._timeout)
        made = 0
        while True:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_POLL)
            with suppress(FileNotFoundError):
                if (now := int(steps.read_bytes() or b"0")) > made:
                    made = now
                    on_step(made)
            if child.returncode is not None:
                return ""
            if time.monotonic() >= end:
                return f"was ended after {self._timeout:g} seconds, the timeout"

    def _failure(self, raised: str, pickled: bytes, output: list[str]) -> BaseException:
        failure = RunFailedError(
            f"{self._title} failed in a process of its own, so there is nothing to compare with",
            (f"found: {raised}", *output),
            "Fix it, and verify again.",
        )
        told = NotRunnableError if isinstance(self._task, ScriptTask) else BaseException
        if told is BaseException or raised == told.__name__:
            with suppress(Exception):  # of a class that is not there, or that cannot be made again
                error = pickle.loads(pickled)
                if isinstance(error, told):
                    error.__cause__ = failure
                    return error
        return failure


def _environment(job: RepetitionJob) -> Mapping[str, str]:
    if job.conditions is not None:
        return {**os.environ, **job.conditions.environment()}
    # Under control; as it is, Python picks another hash seed for each process.
    return os.environ if job.control is None else {HASH_SEED: "0", **os.environ}


def _has_room() -> bool:
    """Return whether an interpreter can be made ready beside a run; not where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
        return free >= _ROOM and len(os.sched_getaffinity(0)) > 1
    except (OSError, StopIteration):
        return False


def _hash_seed() -> int:
    value = os.environ.get(HASH_SEED, "")
    return int(value) if value.isdecimal() else 0


def _remove_unless_readable(path: Path) -> None:
    try:
        with TraceReader(path):
            pass
    except TraceError:
        path.unlink(missing_ok=True)


# What goes to another process.


def control_for_job(control: Control) -> Mapping[str, Any] | None:
    """Return the arguments of the scope that another process is to open; None for none.

    What a scope takes over from the enclosing one is put in: there is none in the other process. A TypeError says that
    it has generators of the user's, which are objects of this process.
    """
    if control is False:
        return None
    return (Scope() if control is True else control).arguments()


def _pickled(task: FunctionTask, preparation: Mapping[str, Any]) -> bytes:
    """Return a function and its arguments as bytes; the function is the name that it can be imported by."""
    differs, remedy = "a fresh interpreter cannot import this function", "Define it in a file, at its top level"
    try:
        function = pickle.dumps(task.function)
        if b"__main__" in function and not any(name.startswith("init_main_from") for name in preparation):
            raise pickle.PicklingError("it is defined in a main module that has no file")
        differs = "an argument cannot be sent to a fresh interpreter"
        remedy = "Pass what can be pickled, make it inside the function"
        return pickle.dumps(task)
    except Exception as error:  # pickling calls the objects' own methods, which may raise anything
        values = (f"function: {task.title}", f"found: {type(error).__name__}: {error}")
        raise type_error(differs, values, f"{remedy}, or leave isolate and stress out.") from error


def _preparation() -> dict[str, Any]:
    """Return what `multiprocessing.spawn.prepare` needs to import the main module in another process; not in such."""
    if getattr(process.current_process(), "_inheriting", False):
        raise DeterministicError(
            "verify was called while a fresh interpreter imports the main module",
            (f"found: {getattr(sys.modules['__main__'], '__file__', None) or 'a main module without a file'}",),
            'Put the call under `if __name__ == "__main__":`, as for multiprocessing.',
        )
    method = multiprocessing.get_start_method(allow_none=True)
    data = {name: value for name, value in spawn.get_preparation_data("").items() if name not in _NOT_SENT}
    if method is None:
        # Being asked for has settled it, and the user's own set_start_method() would be refused.
        multiprocessing.set_start_method(None, force=True)
    if not os.path.isfile(data.get("init_main_from_path", __file__)):  # "<stdin>"
        del data["init_main_from_path"]
    return data
