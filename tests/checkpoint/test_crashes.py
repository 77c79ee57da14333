"""Killed at any instant and resumed, a training ends with the bits of one that nobody interrupted.

`DETERMINISTIC_KILLS=500 pytest tests/checkpoint/test_crashes.py` kills that often, at other instants every time.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import Any

import pytest

from ..processes import ROOT

KILLS = os.environ.get("DETERMINISTIC_KILLS")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    seed, folder = random.randrange(2**32) if KILLS else 0, str(tmp_path_factory.mktemp("crashes"))
    command = [sys.executable, "-m", "tests.checkpoint.crashes", folder, KILLS or "10", str(seed), "any", "write"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def test_killed_at_any_instant(killed: dict[str, dict[str, Any]]) -> None:
    found = killed["any"]
    assert found["killed"] >= 10
    assert {*found["ends"]} == {found["uninterrupted"]}


def test_killed_while_it_writes(killed: dict[str, dict[str, Any]]) -> None:
    found = killed["write"]
    assert found["while writing"] >= 10
    assert {*found["ends"]} == {found["uninterrupted"]}
