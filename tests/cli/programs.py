"""Programs in processes of their own: by plain python, and by `deterministic run`, to be compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from deterministic.ground.launch import VARIABLE

RUN = (sys.executable, "-m", "deterministic", "run")
SET_BY_RUN = ("PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", VARIABLE)


class Ended(NamedTuple):
    """How a program ended."""

    status: int
    out: str
    err: str


def ended(*command: str, cwd: Path, **variables: str) -> Ended:
    """Run a command to its end, with the variables that `deterministic run` sets only if they are given."""
    environment = {name: value for name, value in os.environ.items() if name not in SET_BY_RUN}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**environment, **variables},
        input="what was typed\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Ended(done.returncode, _without_addresses(done.stdout), _without_addresses(done.stderr))


def python(*arguments: str, cwd: Path, **variables: str) -> Ended:
    """Run Python."""
    return ended(sys.executable, *arguments, cwd=cwd, **variables)


def run(*arguments: str, cwd: Path, **variables: str) -> Ended:
    """Run `deterministic run`."""
    return ended(*RUN, *arguments, cwd=cwd, **variables)


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)
