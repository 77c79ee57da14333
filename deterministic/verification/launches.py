"""A script on several ranks of this machine: started by torchrun, in a process of its own, and ended with it.

Importing it does not import torch.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ground.launch import HASH_SEED
from ..scope.request import Scope
from .processes import answer_in, command_for, ending, last_lines, leave_answer, started
from .scripts import NotRunnableError, ScriptTask, show

_RANKS, _LOGS, _FAILED, _REFUSED = "ranks", "logs", "failed", "refused"


@dataclass(frozen=True)
class LaunchJob:
    """A script on so many ranks, with the arguments of its scope, None: as it is; `keep`: see `StepStates`."""

    ranks: int
    task: ScriptTask
    control: Mapping[str, Any] | None
    keep: tuple[int, int] | None

    def as_rank(self, folder: Path) -> None:
        """Be a rank: what its optimizers leave is written beside what the others leave; and end as Python would."""
        from ..ground.repetition import checkpoints_in
        from ..scope.refusals import explain_refusal
        from .step_states import StepStates

        rank = int(os.environ["RANK"])
        scope: Any = nullcontext() if self.control is None else Scope(**self.control)
        try:
            with checkpoints_in(folder / "checkpoints"), scope, StepStates(folder, rank, self.keep):
                self.task.run()
        except NotRunnableError as error:
            (folder / _REFUSED).write_text(str(error), encoding="utf-8")
            raise SystemExit(1) from None
        except (Exception, SystemExit) as error:
            (folder / f"{_FAILED}{rank}").touch()
            if isinstance(error, SystemExit):
                raise
            explain_refusal(error, self.task.way_out)
            show(error)
            raise SystemExit(1) from None

    def as_torchrun(self, folder: Path) -> None:
        """Start the ranks, and leave the exit statuses of those that failed."""
        import torch.distributed

        if not torch.distributed.is_available():
            raise SystemExit("this torch was built without torch.distributed")
        from torch.distributed import run
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        (folder / _RANKS).mkdir()
        options = ["--standalone", "--nnodes=1", f"--nproc-per-node={self.ranks}", "--max-restarts=0"]
        options += ["--redirects=3", f"--log-dir={folder / _LOGS}", "--no-python"]
        failures = {}
        try:
            run.main([*options, *command_for(self.as_rank, folder / _RANKS)])
        except ChildFailedError as error:
            failures = {rank: failure.exitcode for rank, failure in error.failures.items()}
        leave_answer(folder, failures)


def launched(job: LaunchJob, folder: Path, timeout: float | None) -> tuple[Path, list[str]]:
    """Run a script on its ranks, to its end or so many seconds, in an empty folder; return what the ranks left there.

    And why the script did not come to its end, with the last lines of the rank that failed first, or nothing.
    """
    # Where nobody says how many threads, torchrun says one, but not to a rank that is alone; others have other bits.
    environment = {"OMP_NUM_THREADS": "1", **({} if job.control is None else {HASH_SEED: "0"}), **os.environ}
    log, ranks, why = folder / "log", folder / _RANKS, ""
    with open(log, "wb") as file, started(job.as_torchrun, folder, environment, file, file) as child:
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            why = f"was ended after {timeout:g} seconds, the timeout"
    if (ranks / _REFUSED).exists():
        raise NotRunnableError((ranks / _REFUSED).read_text(encoding="utf-8"))
    failures = {0: 0} if why else answer_in(folder)
    if failures is None:
        return ranks, [f"torchrun {ending(child.returncode)}", *last_lines([log])]
    if not failures:
        return ranks, []
    noted = sorted(ranks.glob(f"{_FAILED}*"), key=lambda path: path.stat().st_mtime_ns)
    rank = int(noted[0].name.removeprefix(_FAILED)) if noted else next(iter(failures))
    why = why or f"rank {rank} {ending(failures.get(rank, 1))}"
    return ranks, [why, *last_lines(sorted(folder.glob(f"{_LOGS}/**/{rank}/std*.log"), reverse=True))]
