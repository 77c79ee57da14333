"""The end of the interpreter finds a scope open or a body suspended: nothing is printed, and the exit code is 0."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .processes import ROOT

PREPARE = """
import atexit, asyncio, sys, threading
import torch
from deterministic import current_run, reproducible

class Waits:
    def __await__(self):
        yield

@reproducible(seed=1)
def draws():
    try:
        while True:
            with reproducible(seed=2):
                yield torch.rand(())
    finally:
        print("cleaned up")

@reproducible(seed=1)
async def waits():
    try:
        await Waits()
    finally:
        print("cleaned up")

@reproducible(seed=1)
async def async_draws():
    while True:
        with reproducible(seed=2):
            yield torch.rand(())

class Holder:
    def __init__(self):
        self.iterator = self.draws()
        next(self.iterator)

    @reproducible(seed=1)
    def draws(self):
        while True:
            yield self
"""

CASES = {
    "a suspended generator": "it = draws(); next(it)",
    "a suspended generator in a reference cycle": "holder = Holder()",
    "a suspended generator that a module of the standard library holds": "sys.kept = draws(); next(sys.kept)",
    "a suspended coroutine": "coroutine = waits(); coroutine.send(None)",
    "a suspended async generator": "it = async_draws(); step = it.asend(None)\ntry: step.send(None)\nexcept StopIteration: pass",
    "an open scope": "scope = reproducible(seed=1); scope.start()",
    "an open scope and a suspended generator inside it": "scope = reproducible(seed=1).__enter__(); it = draws(); next(it)",
    "a scope that a daemon thread holds": (
        "held = threading.Event()\n"
        "def hold():\n"
        "    with reproducible(seed=1):\n"
        "        held.set(); threading.Event().wait()\n"
        "threading.Thread(target=hold, daemon=True).start(); held.wait()"
    ),
    "a scope entered at exit": "atexit.register(lambda: list(zip(range(3), draws())))",
    "a block that sys.exit leaves": "with reproducible(seed=1): sys.exit(0)",
}


@pytest.mark.parametrize("case", CASES)
def test_the_interpreter_ends_in_silence_with(case: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", PREPARE + CASES[case]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    if "generator" in case and "draws" in CASES[case] and "async" not in CASES[case]:
        assert finished.stdout == "cleaned up\n"
