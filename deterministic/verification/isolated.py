"""Each repetition in a fresh interpreter: nothing is carried over, and a crash ends that repetition alone."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing import spawn
from pathlib import Path
from typing import IO, Any

from ..errors import DeterministicError, TraceError, explain
from ..trace.file.store import TraceReader
from . import jobs
from .jobs import Job
from .pickling import pickled, prepared
from .runs import Done, Plan
from .scripts import ScriptTask
from .stress import HASH_SEED, Conditions
from .tasks import FunctionTask, Task

LAST_LINES = 40
"""How many lines of a failed run's stdout are shown, and of its stderr."""

_LAST_BYTES = 16384
_OWN_FRAME = re.compile(
    rf'  File "({re.escape(str(Path(__file__).parents[1]))}.*|<string>)", line \d+ in |Extension modules: '
)
"""What Python's faulthandler writes of this library's own frames, below the user's, and after them."""

_POLL = 0.05
_GRACE = 2.0
"""Seconds from asking a process to end until it is made to: a launcher ends its own workers meanwhile."""

_START = """
import sys
place, folder = sys.argv.pop(), sys.argv.pop()
del sys.path[:not getattr(sys.flags, "safe_path", sys.flags.isolated)]
sys.path.insert(0, folder)
import deterministic
del sys.path[0]
if folder not in sys.path: sys.path.append(folder)
from deterministic.verification.child import main
main(place)
"""
"""What the interpreter begins with. `-m` would let a file of the working directory stand in for a module of Python's.

The folder of this library comes first until it is found, so that it is this one; worker processes find it at the end.
"""


class RunFailedError(DeterministicError, RuntimeError):
    """The first run failed in its own process, so there is nothing to compare with."""


class Isolated:
    """Runs each repetition of a task in a fresh interpreter.

    The function and its arguments are pickled now, so each repetition gets them as they are now.

    Args:
        task: What to run.
        stress: Vary what must not matter: see `stress.Conditions`.
        timeout: Seconds after which a repetition is ended; None: never.
        show_output: Let what it prints through, to stderr, instead of into files beside the trace: with ".out", and
            with ".log" what it writes to stderr.

    Raises:
        TypeError: The function, or one of its arguments, cannot be made in another process.
        DeterministicError: The main module is being imported by such a process.
    """

    def __init__(self, task: Task, *, stress: bool, timeout: float | None, show_output: bool = False) -> None:
        self._script = task if isinstance(task, ScriptTask) else None
        self._function, self._preparation = b"", dict[str, Any]()
        if isinstance(task, FunctionTask):
            self._preparation = prepared()
            self._function = pickled(task, self._preparation)
        self._title = task.title
        self._stress = stress
        self._timeout = timeout
        self._show_output = show_output

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        """Run a repetition to its end, and leave nothing running.

        Args:
            repetition: Which, from 0: with stress its conditions depend on it.
            plan: How.
            on_step: Called now and then with the number of optimizer steps.

        Returns:
            What is known of it; `error` is what the first run failed with.

        Raises:
            TypeError: The plan's scope cannot be made in another process.
        """
        job = self._job(repetition, plan)
        printed = [plan.path.absolute().with_suffix(suffix) for suffix in (".out", ".log")]
        with ExitStack() as opened:
            place = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="deterministic-")))
            files = [opened.enter_context(open(path, "wb")) for path in printed]
            (place / jobs.JOB).write_bytes(pickle.dumps(job))
            started = time.monotonic()
            child = self._start(place, self._environment(job), *files)
            ended = self._wait(child, place / jobs.STEPS, on_step)
            done = jobs.read_done(place)
            if done is None:
                cut = [ended or _ending(child.returncode), *_last_lines(printed)]
                done = Done(seconds=time.monotonic() - started, cut=cut)
                _remove_unless_readable(plan.path)
            elif done.raised is not None:
                done.error = self._failure(done.raised, place, _last_lines(printed))
        varied = "" if job.conditions is None else str(job.conditions)
        return replace(done, varied=varied)

    def _job(self, repetition: int, plan: Plan) -> Job:
        return Job(
            path=str(plan.path.absolute()),
            control=jobs.control_for_job(plan.control),
            level=plan.level,
            segment=plan.segment,
            keep=plan.keep,
            script=self._script,
            function=self._function,
            preparation=self._preparation,
            conditions=Conditions(repetition, _given_hash_seed()) if self._stress else None,
            parent=os.getpid(),
        )

    def _environment(self, job: Job) -> Mapping[str, str]:
        if job.conditions is not None:
            return {**os.environ, **job.conditions.environment()}
        if HASH_SEED not in os.environ and job.control is not None:
            return {**os.environ, HASH_SEED: "0"}  # under control; as it is, Python picks another for each process
        return dict(os.environ)

    def _start(
        self, place: Path, environment: Mapping[str, str], out: IO[bytes], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        folder = str(Path(__file__).parents[2])
        return subprocess.Popen(
            [os.fsdecode(spawn.get_executable()), *flags, "-c", _START, folder, str(place)],
            stdin=subprocess.DEVNULL,
            stdout=2 if self._show_output else out,
            stderr=2 if self._show_output else log,
            env=environment,
            start_new_session=True,  # so that its workers are ended with it
        )

    def _wait(self, child: subprocess.Popen[bytes], steps: Path, on_step: Callable[[int], None]) -> str | None:
        """Wait until a process has ended, whatever comes, and return why it was ended; None if it was not."""
        end = None if self._timeout is None else time.monotonic() + self._timeout
        told = 0
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_POLL)
                told = _tell(steps, told, on_step)
                if child.returncode is not None:
                    return None
                if end is not None and time.monotonic() >= end:
                    return f"was ended after {self._timeout:g} seconds, the timeout"
        finally:
            _end(child)

    def _failure(self, raised: str, place: Path, output: Sequence[str]) -> BaseException:
        told = RunFailedError(
            explain(
                f"{self._title} failed in a process of its own, so there is nothing to compare with",
                (f"found: {raised}", *output),
                "Mend it, and verify again.",
            )
        )
        if self._script is None:
            with suppress(Exception):  # of a class that is not there, or that cannot be made again
                error = pickle.loads((place / jobs.ERROR).read_bytes())
                if isinstance(error, Exception):
                    error.__cause__ = told
                    return error
        return told


def _given_hash_seed() -> int:
    given = os.environ.get(HASH_SEED, "")
    return int(given) if given.isdecimal() else 0


def _tell(path: Path, told: int, on_step: Callable[[int], None]) -> int:
    """Pass on how many steps there are, if it is another number than was told before, and return it."""
    try:
        steps = int(path.read_bytes() or b"0")
    except FileNotFoundError:
        return told
    if steps > told:
        on_step(steps)
    return max(steps, told)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started and left in its session."""
    if os.name != "posix":
        child.kill()
        child.wait()
        return
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all of them are zombies
        os.killpg(group, number)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended in its middle, with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _last_lines(printed: Sequence[Path]) -> list[str]:
    found = []
    for path in printed:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        found += [line for line in lines if not _OWN_FRAME.match(line)][-LAST_LINES:]
    return found


def _remove_unless_readable(path: Path) -> None:
    try:
        with TraceReader(path):
            pass
    except TraceError:
        path.unlink(missing_ok=True)
