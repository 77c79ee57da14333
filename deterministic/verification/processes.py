"""A fresh interpreter: started with a job, ended with all that it started, and asked what came of it.

Importing it does not import torch.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import spawn
from pathlib import Path
from typing import IO, Any, TypeAlias

from ..errors import DeterministicError

LAST_LINES = 40  # how many lines of a failed run's stdout are shown, and of its stderr

_JOB, _ANSWER = "job", "answer"  # the names of the files in the folder that both processes know

_LAST_BYTES = 16384
_OWN_FRAME = re.compile(
    rf'  File "({re.escape(str(Path(__file__).parents[1]))}.*|<string>)", line \d+ in |Extension modules: '
)
"""What Python's faulthandler writes of this library's own frames, below the user's, and after them."""

_GRACE = 2.0
"""Seconds from asking a process to end until it is made to: a launcher ends its own workers meanwhile."""

_START = """
import sys
folder, library = sys.argv.pop(), sys.argv.pop()
del sys.path[:not getattr(sys.flags, "safe_path", sys.flags.isolated)]
sys.path.insert(0, library)
import deterministic
del sys.path[0]
if library not in sys.path: sys.path.append(library)
from deterministic.verification.processes import main
main(folder)
"""
"""What the interpreter begins with. `-m` would let a file of the working directory stand in for a module of Python's.

The folder of this library comes first until it is found, so that it is this one; worker processes find it at the end.
"""


class RunFailedError(DeterministicError, RuntimeError):
    """A run failed in its own process, so there is nothing to measure or to compare with."""


Job: TypeAlias = Callable[[Path], object]
"""What a fresh interpreter is to do: called with its folder, it leaves its answer there.

Unpickling it imports nothing of the user's."""


@contextmanager
def started(
    job: Job | None, folder: Path, environment: Mapping[str, str], stdout: int | IO[bytes], stderr: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a fresh interpreter with a job in an empty folder, and leave nothing of it running, whatever comes.

    With None it imports torch, and waits for a job that `command_for` puts into the folder, and the end of its stdin.
    """
    stdin = subprocess.PIPE if job is None else subprocess.DEVNULL
    command = command_for(job, folder)
    # A session of its own, so that its workers are ended with it.
    child = subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
    )
    try:
        yield child
    finally:
        _end(child)


def command_for(job: Job | None, folder: Path, printed: Sequence[Path] = ()) -> list[str]:
    """Put a job of this process's child into a folder, None: it is to wait for one; return the command that does it.

    With one that is waited for come the files for its stdout and stderr; none: as they are.
    """
    _write_whole(folder / _JOB, (os.getpid(), job, printed))
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    library = str(Path(__file__).parents[2])
    return [os.fsdecode(spawn.get_executable()), *flags, "-c", _START, library, str(folder)]


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started and left in its session."""
    if os.name != "posix":
        child.kill()
    else:
        if child.poll() is None:
            _signal_group(child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE)
        _signal_group(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        child.stdin.close()
    child.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process that leads a session, and to all in it, if there are any."""
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all of them are zombies
        os.killpg(group, number)


def main(folder: str) -> None:
    """Do, in the fresh interpreter, the job that lies in a folder."""
    with importing():
        parent, job, _ = _read(folder)
        _end_with(parent)
        if job is None:
            job = _awaited(folder)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that a crash loses no line
    if not faulthandler.is_enabled():
        faulthandler.enable()
    job(Path(folder))


@contextmanager
def importing() -> Iterator[None]:
    """Let Python look for no garbage in what is imported meanwhile, neither now nor later: there is none.

    It would at the end, too, several times; of importing torch and ending that is a quarter.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _read(folder: str) -> tuple[int, Job | None, Sequence[Path]]:
    job: tuple[int, Job | None, Sequence[Path]] = pickle.loads((Path(folder) / _JOB).read_bytes())
    return job


def _awaited(folder: str) -> Job:
    """Import what every repetition needs, wait for a job, and take the files that come with it."""
    from . import performing  # noqa: F401

    while os.read(0, 1):
        pass  # its end says that the job is there, or that the parent is gone
    _, job, printed = _read(folder)
    if job is None:
        os._exit(1)
    for number, path in enumerate((Path(os.devnull), *printed)):
        file = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    return job


def _end_with(parent: int) -> None:
    """Let the operating system end this process with its parent, where it can: a killed one could not do it."""
    from torch import multiprocessing

    die_with_parent = getattr(multiprocessing, "_prctl_pr_set_pdeathsig", None)  # torch has it on Linux alone
    if die_with_parent is not None:
        die_with_parent(signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:
        os._exit(1)


def _write_whole(path: Path, value: Any) -> None:
    """Write a file that is there whole if it is there at all."""
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(value))
    os.replace(part, path)


def leave_answer(folder: Path, answer: Any) -> None:
    """Write what came of a job, all of it or nothing."""
    _write_whole(folder / _ANSWER, answer)


def answer_in(folder: Path) -> Any:
    """Return what a job left; None if its process ended before it could."""
    with suppress(FileNotFoundError):
        return pickle.loads((folder / _ANSWER).read_bytes())
    return None


def ending(status: int) -> str:
    """Return how a process ended that was to do more, by its exit status."""
    if status >= 0:
        return f"ended early, with exit status {status}"
    return f"was killed by {signal_name(-status)}"


def signal_name(number: int) -> str:
    """Return "SIGKILL" and the like."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def last_lines(printed: Sequence[Path]) -> list[str]:
    """Return the last lines of files that a process has written, without this library's own frames."""
    lines = []
    for path in printed:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            of_file = file.read().decode(errors="replace").splitlines()
        lines += [line for line in of_file if not _OWN_FRAME.match(line)][-LAST_LINES:]
    return lines
