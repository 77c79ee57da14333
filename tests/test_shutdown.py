"""The end of the interpreter finds a scope open or a body suspended: nothing is printed, and the exit code is 0."""

from __future__ import annotations

import json
import os

import pytest

from .processes import run_python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
]

PREPARE = """
import asyncio, atexit, json, os, sys, tempfile, threading
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

async def first_item():
    global kept
    kept = async_draws()
    await anext(kept)

class Holder:
    def __init__(self):
        self.iterator = self.draws()
        next(self.iterator)

    @reproducible(seed=1)
    def draws(self):
        try:
            yield self
        finally:
            print("cleaned up")
"""

# Each case ends a child of one process that has imported torch once.
CHILDREN = """
outcomes = {}
for name, code in json.loads(sys.argv[1]).items():
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            exec(code)
            break
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        outcomes[name] = status, out.read().decode(), err.read().decode()
else:
    print(json.dumps(outcomes))
"""

CLEANED_UP = "cleaned up\n"

CASES = {
    "a suspended generator": ("it = draws(); next(it)", CLEANED_UP),
    "a suspended generator in a reference cycle": ("holder = Holder()", CLEANED_UP),
    "a suspended generator that outlives the modules": ("sys.kept = draws(); next(sys.kept)", None),
    "a suspended coroutine": ("coroutine = waits(); coroutine.send(None)", CLEANED_UP),
    "a suspended async generator": (
        "step = async_draws().asend(None)\ntry: step.send(None)\nexcept StopIteration: 0",
        "",
    ),
    "an async generator that a loop has closed": ("asyncio.run(first_item())", ""),
    "an open scope": ("scope = reproducible(seed=1); scope.start()", ""),
    "an open block and a suspended generator inside it": (
        "scope = reproducible(seed=1).__enter__(); it = draws(); next(it)",
        CLEANED_UP,
    ),
    "an open block around a suspended generator and its own end": (
        "with reproducible(seed=1): it = draws(); next(it); sys.exit(0)",
        CLEANED_UP,
    ),
    "a scope that a daemon thread holds, and a suspended generator": (
        "held = threading.Event()\n"
        "def hold():\n"
        "    with reproducible(seed=1):\n"
        "        held.set(); threading.Event().wait()\n"
        "it = draws(); next(it)\n"
        "threading.Thread(target=hold, daemon=True).start(); held.wait()",
        None,  # with a daemon thread Python itself leaves generators as they are
    ),
    "a scope entered at exit": ("atexit.register(lambda: list(zip(range(3), draws())))", CLEANED_UP),
}


COMPLAINS = "import warnings; warnings.warn('seen'); sys.exit(3)"


WITHOUT_DILL = 'import sys; sys.modules["dill"] = None'
"""Where it is installed, torch imports it, and it keeps __main__ to the end: what is suspended there is closed last."""


@pytest.fixture(scope="module", params=[WITHOUT_DILL, "import dill"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, tuple[int, str, str]]:
    codes = json.dumps({"complains": COMPLAINS, **{case: code for case, (code, _) in CASES.items()}})
    results: dict[str, tuple[int, str, str]] = json.loads(run_python(f"{request.param}\n{PREPARE}{CHILDREN}", codes))
    return results


@pytest.mark.parametrize("case", CASES)
def test_the_interpreter_ends_in_silence_with(
    case: str, outcomes: dict[str, tuple[int, str, str]], request: pytest.FixtureRequest
) -> None:
    status, printed, complaints = outcomes[case]
    assert (status, complaints) == (0, "")
    expected = CASES[case][1]
    # With dill Python itself leaves a generator in a cycle as it is.
    has_dill = WITHOUT_DILL not in request.node.callspec.params.values()
    assert printed == expected or expected is None or (has_dill and "cycle" in case and not printed)


def test_a_complaint_would_be_seen(outcomes: dict[str, tuple[int, str, str]]) -> None:
    status, _, complaints = outcomes["complains"]
    assert status == 3
    assert "seen" in complaints
