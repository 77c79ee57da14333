"""One repetition in a fresh interpreter, from within: what `isolated.IsolatedRuns` starts."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import process, spawn
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..scope.request import Scope
from .processes import importing, leave_answer
from .runs import Done, FunctionTask, Plan, Task
from .scripts import NotRunnableError, ScriptTask, show
from .stress import Conditions

if TYPE_CHECKING:
    from ..trace.recording.record import Recording

STEPS = "steps"  # the name of the file that says how many optimizer steps were made, now and then
_SECONDS_BETWEEN_STEPS = 0.1  # at least, between two writes of that number


@dataclass(frozen=True)
class RepetitionJob:
    """One repetition."""

    plan: Plan  # but for its scope
    control: Mapping[str, Any] | None  # the arguments of its scope; None: as it is
    task: ScriptTask | bytes  # the latter a pickled `FunctionTask`,
    preparation: Mapping[str, Any]  # for which `multiprocessing.spawn.prepare` needs this to import the main module
    conditions: Conditions | None

    def do(self, folder: Path) -> None:
        """Run it, print what Python would print of its end, and leave a `Done` and the pickled exception."""
        with importing():
            from . import performing  # which imports torch, before anything is varied

        if self.conditions is not None:
            self.conditions.begin()
        own_process = os.getpid()
        done = self._perform(folder, performing.perform)
        if os.getpid() != own_process:
            return  # the script forked, and this is the copy: the answer is its parent's
        if not isinstance(done.error, SystemExit):
            if done.error is not None and not isinstance(done.error, NotRunnableError):
                show(done.error)
        elif not isinstance(done.error.code, int):
            sys.stderr.write(f"{done.error.code}\n")
        _leave(folder, done)
        if done.stopped:
            # The script was left in its middle: threads of its own may wait for what now never comes.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def _perform(self, folder: Path, perform: Callable[..., Done]) -> Done:
        control: bool | Scope = False if self.control is None else Scope(**self.control)
        try:
            task = self.task if isinstance(self.task, ScriptTask) else self._function(self.task)
        except Exception as error:  # noqa: BLE001 - the user's modules are imported here, and may raise anything
            return Done(raised=type(error).__name__, error=error)
        telling = _Telling(folder)
        try:
            return perform(task, replace(self.plan, control=control), telling.made, telling.finish_before_exit)
        finally:
            telling.leave_exit_alone()
            telling.write_steps()

    def _function(self, pickled: bytes) -> Task:
        """Return the function, with the main module imported again as `multiprocessing` does it."""
        # As multiprocessing.spawn: nothing may be started yet, which a main module without a guard would.
        current: Any = process.current_process()
        current._inheriting = True
        try:
            spawn.prepare(dict(self.preparation))
            task: FunctionTask = pickle.loads(pickled)
            return task
        finally:
            del current._inheriting


def _leave(folder: Path, done: Done) -> None:
    error = b""
    if done.error is not None and not isinstance(done.error, SystemExit):
        with suppress(Exception):  # one that cannot be pickled is told of by its name and what was printed
            error = pickle.dumps(done.error)
    leave_answer(folder, (replace(done, error=None), error))


class _Telling:
    """Tells the parent how many steps have been made, and lets `os._exit`, which skips everything, first end the run.

    Only in this process and thread: forked workers end by it, too, and a recording ends where it began.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = 0.0
        self._steps = 0
        self._exit: Callable[[int], NoReturn] = os._exit
        self._own = (os.getpid(), threading.get_ident())
        self._under_way: tuple[Recording, Done, float] | None = None

    def made(self, steps: int) -> None:
        self._steps = steps
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_STEPS
            self.write_steps()

    def write_steps(self) -> None:
        (self._folder / STEPS).write_bytes(b"%d" % self._steps)

    def finish_before_exit(self, recording: Recording, done: Done) -> None:
        self._under_way = recording, done, time.monotonic()
        os._exit = self._finish

    def leave_exit_alone(self) -> None:
        self._under_way = None  # a script may have kept the function
        os._exit = self._exit  # type: ignore[assignment]

    def _finish(self, status: int) -> NoReturn:
        if self._under_way is not None and (os.getpid(), threading.get_ident()) == self._own:
            recording, done, began = self._under_way
            self.leave_exit_alone()
            recording.__exit__(SystemExit if status else None, None, None)
            done.raised, done.seconds = "SystemExit" if status else None, time.monotonic() - began
            self.write_steps()
            _leave(self._folder, done)
        self._exit(status)
