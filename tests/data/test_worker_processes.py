"""What worker processes leave behind: nothing, and no noise."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from ..processes import ROOT, run_python

UNGUARDED = """
from deterministic.data import engine
engine.disown_in_forked_children = lambda iterator: None
"""
NOISE = """
import gc, sys
from tests.data.datasets import *

class Collecting(Draws):
    def __getitem__(self, index):
        gc.collect()
        return super().__getitem__(index)

if __name__ == "__main__":
    gc.disable()
    one = iter(loader(num_workers=2))
    next(one)
    cycle = [one]
    cycle.append(cycle)
    del one, cycle
    next(iter(loader(Collecting(), num_workers=1)))
    print("done", file=sys.stderr)
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_workers_forked_beside_others_make_no_noise(guarded: bool) -> None:
    program = NOISE if guarded else UNGUARDED + NOISE
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert (done.stderr.strip() == "done") is guarded
    assert ("can only test a child process" in done.stderr) is not guarded


INTERRUPTED = """
import os, signal, sys, threading, time
from tests.data.datasets import *

class Slow(Draws):
    def __getitem__(self, index):
        time.sleep(0.2)
        return super().__getitem__(index)

if __name__ == "__main__":
    threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        for _ in range(10):
            for _ in loader(Slow(), batch_size=2, num_workers=2, persistent_workers=sys.argv[1] == "kept"):
                pass
    except KeyboardInterrupt:
        import multiprocessing
        print("interrupted")
        print([child.pid for child in multiprocessing.active_children()])
"""


@pytest.mark.parametrize("workers", ["kept", "passing"])
def test_ctrl_c_leaves_no_process_behind(workers: str) -> None:
    said = run_python(INTERRUPTED, workers).splitlines()
    assert said[0] == "interrupted"
    for pid in eval(said[1]):
        assert not _runs(pid)


def _runs(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
