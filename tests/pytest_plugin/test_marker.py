"""`@pytest.mark.reproducible`: from which seed each part of a test draws, with other plugins and in any order."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
import torch

from .inner import SUITES, Session, run_suite

COROUTINES = """
import asyncio, inspect, pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        asyncio.run(pyfuncitem.obj())
        return True
"""

RUNS = {
    "alone": (),
    "randomly 1": ("-p", "randomly", "--randomly-seed=1"),
    "randomly 2": ("-p", "randomly", f"--randomly-seed={2**32 - 2}"),  # with a checksum added it is above 2**32
}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    files = {"test_marked.py": (SUITES / "marked.py").read_text(), "conftest.py": COROUTINES}
    return {name: run_suite(tmp_path_factory.mktemp("suite"), files, *arguments) for name, arguments in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_test_draws_from_its_seed(sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]

    assert session.code == 0, session.output
    assert " 16 passed" in session.output
    assert session.notes("coroutine") == [True]


@pytest.mark.parametrize("name", ["fixtures", "teardown of data", "setUp", "stream", "asked for", "double"])
def test_what_fixtures_draw_depends_on_nothing_but_the_seed(sessions: dict[str, Session], name: str) -> None:
    first, *others = (session.notes(name) for session in sessions.values())

    assert first
    assert all(other == first for other in others)


UNSEEDED = {
    "unmarked": "test_marked.py::TestWithoutControl::test_nothing_is_left_of_the_others",
    "unseeded": "test_marked.py::test_no_seed_is_no_seed",
}


@pytest.mark.parametrize(("run", "seed"), [("randomly 1", 1), ("randomly 2", 2**32 - 2)])
@pytest.mark.parametrize("name", UNSEEDED)
def test_a_test_without_a_seed_draws_what_pytest_randomly_gives_also_from_torch(
    sessions: dict[str, Session], name: str, run: str, seed: int
) -> None:
    seed += zlib.crc32(UNSEEDED[name].encode())
    numpy, generator = np.random.RandomState(seed % 2**32), torch.Generator().manual_seed(seed % 2**32)
    first = [random.Random(seed).random(), numpy.rand(), torch.rand(1, generator=generator).item()]

    (drawn,) = sessions[run].notes(name)

    assert isinstance(drawn, list)
    assert drawn[:3] == first
