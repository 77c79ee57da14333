"""Python in a process of its own, for what cannot be tried twice in one: imports, hash seeds, frozen flags."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def run_python(code: str, *arguments: str, **environment: str) -> str:
    """Run `code` in a new interpreter at the root of the repository, and return what it printed."""
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def run_two_ranks(code: str, folder: Path) -> list[Any]:
    """Run code that starts its own second rank, as Lightning does, and return what each rank wrote as RANK.json.

    Args:
        code: Its first argument is the folder.
        folder: Where it lies and writes.
    """
    (folder / "script.py").write_text(code)
    finished = subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
