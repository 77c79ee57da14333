"""Trials of a script, each in a fresh interpreter: what `deterministic cost` measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DeterministicError, explain
from ..ground.config import Level
from ..scope.reproducible import reproducible
from .isolated import LAST_LINES, Isolated
from .memory import Peak, peak_of
from .report import Report
from .scripts import ScriptTask, leave_launcher_out, show
from .stress import HASH_SEED
from .trials import Profile, profile_of, seconds_of
from .verification import Verification

JOB, ANSWER, LOG = "job", "answer", "log"
"""The names of the files: what is asked, what was found, what the script printed."""

_START = (
    "import sys; place, folder = sys.argv.pop(), sys.argv.pop(); sys.path.insert(0, folder); import deterministic; "
    "sys.path.remove(folder); from deterministic.verification.fresh import main; main(place)"
)
"""As in `isolated`: not `-m`, which would let a file of the user's working directory stand in for one of Python's."""


class ScriptFailedError(DeterministicError, RuntimeError):
    """The script failed in its own process; the text begins with what it raised."""


class FreshTrials:
    """Trials of a script, each in a process of its own, seeded as `deterministic run` does it.

    Args:
        task: The script.
    """

    where = "each in a fresh interpreter"

    def __init__(self, task: ScriptTask) -> None:
        self._task = task

    @property
    def title(self) -> str:
        return self._task.title

    def seconds(self, level: Level) -> float:
        return float(self._ask("seconds", level))

    def peak(self, level: Level) -> Peak:
        return Peak(*self._ask("peak", level))

    def profile(self, level: Level) -> Profile:
        return Profile(*self._ask("profile", level))

    def verify(self, level: Level, runs: int, folder: Path) -> Report:
        run = Isolated(self._task, stress=False, timeout=None)
        control = reproducible(deterministic=level)
        return Verification(self.title, run, runs, folder, control, compares_output=True).report()

    def _ask(self, what: str, level: Level) -> Any:
        with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
            place = Path(folder)
            job = {"what": what, "level": level, "target": self._task.target, "argv": list(self._task.argv)}
            (place / JOB).write_text(json.dumps({**job, "is_module": self._task.is_module}), encoding="utf-8")
            said = f"it ended with status {_run(place)} before it could be measured"
            with suppress(FileNotFoundError):
                answer = json.loads((place / ANSWER).read_text(encoding="utf-8"))
                if "found" in answer:
                    return answer["found"]
                said = answer["raised"]
            lines = (place / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise ScriptFailedError(explain(said, (f"in: {self.title}", *lines), "Mend it, and measure again."))


def _run(place: Path) -> int:
    """Run a process to its end, and leave nothing of it running, whatever comes."""
    environment = {HASH_SEED: "0", **os.environ}
    folder = str(Path(__file__).parents[2])
    with open(place / LOG, "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", _START, folder, str(place)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            return child.wait()
        finally:
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)  # its workers, too
            child.kill()
            child.wait()


def main(folder: str) -> None:
    """Do, in the fresh interpreter, what was asked, and leave the answer.

    Args:
        folder: Where the files are.
    """
    place = Path(folder)
    job: Mapping[str, Any] = json.loads((place / JOB).read_text(encoding="utf-8"))
    leave_launcher_out()
    task = ScriptTask(job["target"], job["argv"], job["is_module"])
    own_process = os.getpid()
    try:
        answer = {"found": _measure(task, job["what"], job["level"])}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent tells of it, whatever it is
        answer = {"raised": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"}
        show(error)
    if os.getpid() == own_process:  # else the script forked, and this is the copy
        (place / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _measure(task: ScriptTask, what: str, level: Level) -> Any:
    if what == "seconds":
        return seconds_of(task.run, level)
    if what == "profile":
        return profile_of(task.run, level)
    with reproducible(deterministic=level):
        return peak_of(task.run)
