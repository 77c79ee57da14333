"""Pythons that begin with torch imported: each is a copy of one that has done nothing else, at a tenth of the time.

While `Python` stands in for `subprocess.Popen`, that is so of every Python that is started here, by a test or by the
library, and of those that these start. Not where a copy could be told from a new process: with another hash seed than
0 (where none is set, each process has its own), other variables that are read as torch is loaded, other options.
Tests of what a new process finds or leaves do without, and so does one test of each kind.

Run as a program, it is the one that is copied.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

ROOT = str(Path(__file__).parent.parent)

_TAKE_LONG = ("torch._dynamo", "deterministic.cli", "deterministic.verification.isolated")
_READ_AT_START = tuple("ATEN DNNL GLIBC KMP LD_ MALLOC MKL OMP ONEDNN OPENBLAS PYTHON TORCH".split())  # noqa: SIM905
_READ_LATER = ("OMP_NUM_THREADS", "PYTHONPATH", "TORCHINDUCTOR_CACHE_DIR")
_WITHOUT_EFFECT = "-B"


class Program(NamedTuple):
    """What a copy is to run, as a new process would.

    Attributes:
        arguments: After the name of Python: "-c", "-m", or the path of a script, and what follows.
        folder: Where.
        environment: All of it.
        is_leader: Whether it leads a session of its own.
        parent: The process that asks for it.
    """

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    is_leader: bool
    parent: int

    def run(self) -> None:
        """Run it, for which the process is there."""
        import numpy
        import torch

        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        own, real = os.getpid(), os.getppid
        os.getppid = lambda: self.parent if os.getpid() == own else real()  # what this one forks has another parent
        # As Python's own generator does by itself in a copy: no two processes draw the same.
        numpy.random.seed()
        torch.default_generator.seed()
        if "OMP_NUM_THREADS" in os.environ:
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        first, *rest = self.arguments
        sys.orig_argv = [sys.executable, *self.arguments]
        sys.argv = [first, *(rest[1:] if first in ("-c", "-m") else rest)]
        beginning = {"-c": "", "-m": os.getcwd()}.get(first, os.path.dirname(os.path.realpath(first)))
        sys.path[:0] = [beginning, *filter(None, self.environment.get("PYTHONPATH", "").split(os.pathsep))]
        main = sys.modules["__main__"] = ModuleType("__main__")
        if first == "-m":
            import runpy

            runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined] # what `python -m` itself calls
            return
        text, name = rest[0] if first == "-c" else Path(first).read_text("utf-8"), "<string>"
        if first != "-c":
            name = main.__file__ = os.path.abspath(first)
        exec(compile(text, name, "exec", dont_inherit=True), main.__dict__)


class Python(subprocess.Popen[Any]):
    """A process that is a copy, where one will do."""

    place: Place
    _connection: socket.socket | None = None

    def _execute_child(self, args: Any, *others: Any) -> None:
        executable, before, _, passed, folder, environment, _, _, shell, *pipes = others
        where = os.environ if environment is None else environment
        if shell or before or passed or executable or not self.place.can_run(args, where):
            super()._execute_child(args, *others)  # type: ignore[misc]
            return
        arguments = [argument for argument in map(os.fsdecode, args[1:]) if argument != _WITHOUT_EFFECT]
        program = Program(arguments, os.path.abspath(folder or ""), dict(where), bool(others[20]), os.getpid())
        ends = [own if own != -1 else number for number, own in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(self.place.address)
        socket.send_fds(self._connection, [b" "], ends)
        self._connection.sendall(pickle.dumps(program))
        self._connection.shutdown(socket.SHUT_WR)
        self.pid = _received(self._connection)
        self._child_created = True
        self._close_pipe_fds(*pipes[:6])  # type: ignore[attr-defined]

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._connection is None:
            return super()._try_wait(flags)  # type: ignore[misc, no-any-return]
        if flags and not select.select([self._connection], [], [], 0)[0]:
            return 0, 0
        with self._connection:
            return self.pid, _received(self._connection)

    def _internal_poll(self, *others: Any, **keywords: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*others, **keywords)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


class Place(NamedTuple):
    """Where copies are asked for.

    Attributes:
        address: Of the socket.
        environment: That of the process that is copied.
    """

    address: str
    environment: Mapping[str, str]

    def can_run(self, command: Any, environment: Mapping[str, str]) -> bool:
        """Return whether a copy does what a new process would."""
        if isinstance(command, str) or os.fspath(command[0]) != sys.executable:
            return False
        options = [argument for argument in map(os.fsdecode, command[1:]) if argument != _WITHOUT_EFFECT]
        is_plain = options[0] in ("-c", "-m") or not options[0].startswith("-")
        return is_plain and _read_at_start(environment) == _read_at_start(self.environment)


def _read_at_start(environment: Mapping[str, str]) -> Mapping[str, str]:
    names = [name for name in environment if name.startswith(_READ_AT_START) and name not in _READ_LATER]
    return {name: environment[name] for name in names}


def _received(connection: socket.socket) -> int:
    answer = connection.recv(8, socket.MSG_WAITALL)
    if len(answer) < 8:
        raise RuntimeError("the process that copies are made of has ended")
    return int.from_bytes(answer, "little", signed=True)


@contextmanager
def model(environment: Mapping[str, str]) -> Iterator[None]:
    """Start the process that copies are made of, with these variables, and end it."""
    environment = {name: value for name, value in environment.items() if name not in _READ_LATER}
    environment["PYTHONHASHSEED"] = "0"
    with tempfile.TemporaryDirectory(prefix="warm-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        command = [sys.executable, __file__, str(listener.fileno()), str(os.getpid())]
        passed = [listener.fileno()]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=passed) as copied:
            Python.place = Place(f"{folder}/socket", environment)
            yield
            del Python.place
            copied.terminate()


@contextmanager
def pythons() -> Iterator[None]:
    """Let Pythons that are started meanwhile be copies, where there is something to copy."""
    new = subprocess.Popen
    if hasattr(Python, "place"):
        subprocess.Popen = Python  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = new  # type: ignore[misc]


def main(descriptor: int, parent: int) -> Callable[[], None]:
    """Be the process that is copied; return, in each copy, what it is to run."""
    _end_with(parent)
    environment = dict(os.environ)  # what is imported adds to it
    _import_what_takes_long()
    with socket.socket(fileno=descriptor) as listener:
        Python.place = Place(listener.getsockname(), environment)
        while True:
            connection = listener.accept()[0]
            _forget_those_that_ended()
            if not os.fork():
                break
            connection.close()
    return _copied(connection)


def _import_what_takes_long() -> None:
    for name in _TAKE_LONG:
        importlib.import_module(name)
    sys.path.remove(ROOT)
    subprocess.Popen = Python  # type: ignore[misc]
    gc.collect()
    gc.freeze()


def _copied(connection: socket.socket) -> Callable[[], None]:
    """Copy this process once more; stay behind to tell how the other one ends, and return what that one is to run."""
    _end_with(os.getppid())
    _, ends, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as file:
        program: Program = pickle.load(file)
    pid = os.fork()
    if pid:
        for end in ends:
            os.close(end)
        connection.sendall(pid.to_bytes(8, "little", signed=True))
        connection.sendall(os.waitpid(pid, 0)[1].to_bytes(8, "little", signed=True))
        os._exit(0)
    _end_with(os.getppid())
    connection.close()
    if program.is_leader:
        os.setsid()
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    return program.run


def end(status: int) -> NoReturn:
    """End as Python does, but for taking all modules apart, which takes as long as most programs."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _forget_those_that_ended() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_with(parent: int) -> None:
    from torch import multiprocessing

    multiprocessing._prctl_pr_set_pdeathsig(signal.SIGKILL)  # type: ignore[attr-defined]
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.path[0] = ROOT
    from tests import warm

    run = warm.main(*map(int, sys.argv[1:]))
    try:
        run()
    except SystemExit as exit_:
        if not isinstance(exit_.code, int | None):
            raise
        warm.end(exit_.code or 0)
    warm.end(0)
