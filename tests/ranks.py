"""Ranks as forks of one process, which has torch imported for them: `python -m tests.ranks COUNT MODULE ARGUMENT...`.

The process calls `prepare` of the module, where it has one, and each rank calls `main` with the arguments. The
variables of a launcher say which rank it is, and `DETERMINISTIC_MEETING` where the ranks meet. Where the launcher
itself counts, torchrun is started.

Without arguments it stays, and makes a launch of each line that it reads: what it has imported serves them all.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

from .processes import ROOT

MEETING = "DETERMINISTIC_MEETING"
SECONDS = 300
"""How long a launch may take."""


def meet(backend: str = "gloo") -> None:
    """Make the process group of the ranks: of those that the variables tell of, at the file that they name."""
    import torch.distributed

    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    meeting = f"file://{os.environ[MEETING]}"
    torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=count)


def launch(count: int, module: str, *arguments: str | Path, survives: bool = True, **variables: str) -> None:
    """Run a module on so many ranks, to its end; or until one of them has died, if it is not to survive.

    With variables of its own a launch is made by a new Python.
    """
    command = [str(count), module, *map(str, arguments)]
    if variables:
        python = [sys.executable, "-m", "tests.ranks", *command]
        environment = {**_environment(), **variables}
        done = subprocess.run(python, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
        died, said = done.returncode, done.stderr
    else:
        died, said = _launched(command)
    assert (died == 0) == survives, said[-5000:]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONHASHSEED": "0"}


@cache
def _server() -> subprocess.Popen[str]:
    """Return the process that makes launches, in a session of its own, and ended with this process."""
    # Not a copy of a warm Python: in one of three runs of the suite a launch in one did not come to its end.
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.ranks"],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.communicate()


def _launched(command: list[str]) -> tuple[int, str]:
    """Let the server make a launch, and return how many ranks died, and what was printed."""
    server = _server()
    assert server.stdin
    assert server.stdout
    with tempfile.NamedTemporaryFile("r") as printed:
        server.stdin.write(json.dumps([printed.name, command, _environment()]) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline() if select.select([server.stdout], [], [], SECONDS)[0] else ""
        if not answer:
            atexit.unregister(_end)
            _end(server)
            _server.cache_clear()
            raise TimeoutError(f"no end of {command} within {SECONDS} s:\n{printed.read()}")
        return int(answer), printed.read()


def serve() -> None:
    """Make a launch of each line of the standard input, and answer with its exit status."""
    for line in sys.stdin:
        path, command, environment = json.loads(line)
        with suppress(Exception):  # the copy will raise it, and where it is looked for
            _import(command[1])
        child = os.fork()
        if not child:
            _run(path, command, environment)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _run(path: str, command: list[str], environment: dict[str, str]) -> NoReturn:
    status = -1
    try:
        os.environ.clear()
        os.environ.update(environment)
        with open(path, "w") as printed, open(os.devnull) as nothing:
            for number, file in enumerate((nothing, printed, printed)):
                os.dup2(file.fileno(), number)
        status = main(int(command[0]), *command[1:])
    except BaseException:  # noqa: BLE001 - as in a rank
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _import(module: str) -> object:
    importlib.import_module("torch._dynamo")  # an optimizer does, for seconds; here, not in each of the ranks
    program = importlib.import_module(module)
    getattr(program, "prepare", lambda: None)()
    return program


def main(count: int, module: str, *arguments: str) -> int:
    """Fork the ranks, and return how many have died; with the first one all others are ended, as by torchrun."""
    program = _import(module)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({MEETING: os.path.join(folder, "meeting"), "WORLD_SIZE": str(count)})
        ranks = {_fork(program, rank, arguments) for rank in range(count)}
        died = 0
        while ranks:
            rank, status = os.wait()
            ranks.discard(rank)
            if status:
                died += 1
                for other in ranks:
                    os.kill(other, signal.SIGKILL)
    return died


def _fork(program: object, rank: int, arguments: tuple[str, ...]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank)})
        program.main(*arguments)  # type: ignore[attr-defined]
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it must not leave the child
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # gloo's threads may abort a rank that ends otherwise


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
    serve()
