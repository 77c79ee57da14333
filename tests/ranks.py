"""Ranks as forks of one process, which has torch imported for them: `python -m tests.ranks COUNT MODULE ARGUMENT...`.

The process calls `prepare` of the module, where it has one, and each rank calls `main` with the arguments. The
variables of a launcher say which rank it is, and `DETERMINISTIC_MEETING` where the ranks meet. Where the launcher
itself counts, torchrun is started.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from .processes import ROOT

MEETING = "DETERMINISTIC_MEETING"


def meet(backend: str = "gloo") -> None:
    """Make the process group of the ranks: of those that the variables tell of, at the file that they name."""
    import torch.distributed

    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    meeting = f"file://{os.environ[MEETING]}"
    torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=count)


def launch(count: int, module: str, *arguments: str | Path, survives: bool = True, **variables: str) -> None:
    """Run a module on so many ranks, to its end; or until one of them has died, if it is not to survive."""
    more = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONHASHSEED": "0"}
    # Not in a copy of a warm Python: in one of three runs of the suite a launch in one did not come to its end.
    finished = subprocess.run(
        [sys.executable, "-m", "tests.ranks", str(count), module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **more, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (finished.returncode == 0) == survives, finished.stderr[-5000:]


def main(count: int, module: str, *arguments: str) -> int:
    """Fork the ranks, and return how many have died; with the first one all others are ended, as by torchrun."""
    importlib.import_module("torch._dynamo")  # an optimizer does, for seconds; here, not in each of the ranks
    program = importlib.import_module(module)
    getattr(program, "prepare", lambda: None)()
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
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
