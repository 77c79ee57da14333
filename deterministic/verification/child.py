"""One repetition in a fresh interpreter: what `isolated.Isolated` starts."""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import process, spawn
from pathlib import Path
from typing import Any, NoReturn

from torch import multiprocessing

from ..scope.request import Scope
from ..trace.recording.record import Recording
from . import jobs
from .jobs import Job
from .runs import Done, Plan, perform
from .scripts import show
from .tasks import FunctionTask, Task


def main(folder: str) -> None:
    """Do the job in a folder, and leave the answer there.

    Args:
        folder: Where it is.
    """
    place = Path(folder)
    with open(place / jobs.JOB, "rb") as file:
        job: Job = pickle.load(file)
    _end_with(job.parent)
    _write_at_once()
    if job.conditions is not None:
        job.conditions.begin()
    own_process = os.getpid()
    done = _do(job, place)
    if os.getpid() != own_process:
        return  # the script forked, and this is the copy: the answer is its parent's
    _show(done.error)
    if not isinstance(done.error, SystemExit):
        _pass_on(done.error, place)
    jobs.write_done(place, done)
    if done.stopped:
        # The script was left in its middle: threads of its own may wait for what now never comes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _do(job: Job, place: Path) -> Done:
    control: bool | Scope = False if job.control is None else Scope(**job.control)
    plan = Plan(Path(job.path), control, job.level, job.segment, job.keep)
    steps = _Steps(place / jobs.STEPS)
    try:
        task = job.script or _function(job)
    except Exception as error:  # noqa: BLE001 - the user's modules are imported here, and may raise anything
        return Done(raised=type(error).__name__, error=error)
    exits = _Exits(place, steps)
    try:
        return perform(task, plan, steps.made, exits.finish_first)
    finally:
        exits.leave_alone()
        steps.write()


def _function(job: Job) -> Task:
    """Return the function, with the main module imported again as `multiprocessing` does it."""
    # As multiprocessing.spawn: it says that nothing may be started yet, which a main module without a guard would.
    current: Any = process.current_process()
    current._inheriting = True
    try:
        spawn.prepare(dict(job.preparation))
        task: FunctionTask = pickle.loads(job.function)
        return task
    finally:
        del current._inheriting


def _end_with(parent: int) -> None:
    """Let the operating system end this process with its parent, where it can: a killed one could not do it."""
    die_with_parent = getattr(multiprocessing, "_prctl_pr_set_pdeathsig", None)  # torch has it on Linux alone
    if die_with_parent is not None:
        die_with_parent(signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:
        os._exit(1)


def _write_at_once() -> None:
    """Write each line at once, so that a crash loses none; and on a crash, where it was."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    if not faulthandler.is_enabled():
        faulthandler.enable()


def _show(error: BaseException | None) -> None:
    """Print what Python would print, from where the user's code begins."""
    if isinstance(error, SystemExit):
        if not isinstance(error.code, int):
            sys.stderr.write(f"{error.code}\n")
    elif error is not None:
        show(error)


def _pass_on(error: BaseException | None, place: Path) -> None:
    """Leave an exception for the parent to raise, if it can be pickled."""
    if error is None:
        return
    with suppress(Exception):  # one that cannot be is told of by its name and what was printed
        (place / jobs.ERROR).write_bytes(pickle.dumps(error))


class _Exits:
    """Lets `os._exit`, which skips everything, first end the recording.

    Only in this process and thread: forked workers end by it, too, and a recording ends where it began.
    """

    def __init__(self, place: Path, steps: _Steps) -> None:
        self._place = place
        self._steps = steps
        self._exit: Callable[[int], NoReturn] = os._exit
        self._own = (os.getpid(), threading.get_ident())
        self._under_way: tuple[Recording, Done, float] | None = None

    def finish_first(self, recording: Recording, done: Done) -> None:
        self._under_way = recording, done, time.monotonic()
        os._exit = self._finish

    def leave_alone(self) -> None:
        self._under_way = None  # a script may have kept the function
        os._exit = self._exit  # type: ignore[assignment]

    def _finish(self, status: int) -> NoReturn:
        if self._under_way is not None and (os.getpid(), threading.get_ident()) == self._own:
            recording, done, started = self._under_way
            self.leave_alone()
            recording.__exit__(SystemExit if status else None, None, None)
            done.raised, done.seconds = "SystemExit" if status else None, time.monotonic() - started
            self._steps.write()
            jobs.write_done(self._place, done)
        self._exit(status)


class _Steps:
    """Tells how many steps have been made, now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0
        self._steps = 0

    def made(self, steps: int) -> None:
        self._steps = steps
        now = time.monotonic()
        if now >= self._next:
            self._next = now + jobs.SECONDS_BETWEEN_STEPS
            self.write()

    def write(self) -> None:
        self._path.write_bytes(b"%d" % self._steps)
