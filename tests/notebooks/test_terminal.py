"""The magics in IPython's plain terminal, typed line by line; two empty lines end a cell magic there."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from ..processes import ROOT

TYPED = """\
%load_ext deterministic
%%reproducible --seed 42
import random
random.random()


%%reproducible --seed 42
import asyncio
await asyncio.sleep(0)
random.random()


%%reproducible --seed 42
1 / 0


%%reproducible --seed oops
1


%reproducible on --seed 7
random.random()
%reproducible off
from deterministic.scope import stack
len(stack._entries)
"""


def test_the_magics_work_in_a_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor"]
    finished = subprocess.run(
        [*command, f"--ipython-dir={tmp_path}", "--HistoryManager.enabled=False"],
        input=TYPED,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = finished.stdout

    assert said.count(f": {random.Random(42).random()}\n") == 2, said
    assert said.count(f": {random.Random(7).random()}\n") == 1
    assert "----> 2 1 / 0" in said
    assert "found 'oops', expected 0 <= N < 2**64" in said + finished.stderr
    assert ": 0\n" in said  # no scope is open
