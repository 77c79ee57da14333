"""Killed at any instant and resumed, a training ends with the bits of one that nobody interrupted.

`DETERMINISTIC_KILLS=500 pytest tests/checkpoint/test_crashes.py` kills that often, at other instants every time.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..processes import ROOT

KILLS = os.environ.get("DETERMINISTIC_KILLS")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def killed(folder: Path, mode: str) -> dict[str, Any]:
    seed = random.randrange(2**32) if KILLS else 0
    command = [sys.executable, "-m", "tests.checkpoint.crashes", str(folder), KILLS or "10", str(seed), mode]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_killed_at_any_instant(tmp_path: Path) -> None:
    found = killed(tmp_path, "any")
    assert found["killed"] >= 10
    assert {*found["ends"]} == {found["uninterrupted"]}


def test_killed_while_it_writes(tmp_path: Path) -> None:
    found = killed(tmp_path, "write")
    assert found["while writing"] >= 10
    assert {*found["ends"]} == {found["uninterrupted"]}
