"""Python in a process of its own, for what cannot be tried twice in one: imports, hash seeds, frozen flags."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
