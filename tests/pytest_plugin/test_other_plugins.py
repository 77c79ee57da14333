"""The plugin beside others: reruns, repetitions, workers; pytest-randomly is in `test_marker.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from deterministic import reproducible
from deterministic.pytest_plugin import seed_torch
from deterministic.pytest_plugin.arguments import PluginOptions
from deterministic.pytest_plugin.hooks import Summary

from ..processes import run_python
from .inner import SUITES, Session, run_suite

REFUSED = """
import pytest

@pytest.mark.reproducible(sed=3)
def test_refused():
    raise RuntimeError("was run")
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_suite(tmp_path_factory.mktemp("suite"), "repeated", "-k", "rerun or repeated or after or worker")


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Session:
    arguments = ("-n", "2", "--reproducible-check=2", "-k", "worker or differs or refused", "-p", "no:rerunfailures")
    files = {"test_repeated.py": (SUITES / "repeated.py").read_text(), "test_refused.py": REFUSED}
    return run_suite(
        tmp_path_factory.mktemp("suite"), files, *arguments, "-W", "ignore::pytest.PytestUnknownMarkWarning"
    )


@pytest.mark.parametrize("name", ["rerun", "repeated"])
def test_every_attempt_draws_the_same(session: Session, name: str) -> None:
    attempts = session.notes(name)

    assert session.code == 0, session.output
    assert len(attempts) == 3
    assert attempts[0] == attempts[1] == attempts[2]
    assert isinstance(attempts[0], list)
    assert attempts[0][0] != attempts[0][1]


def test_workers_draw_what_the_process_itself_draws(session: Session, workers: Session) -> None:
    assert set(map(str, workers.notes("where"))) <= {"gw0", "gw1"}
    assert workers.notes("worker") == 2 * session.notes("worker")


def test_what_workers_compare_is_summed_up(workers: Session) -> None:
    assert "1 bit-exact, 1 different" in workers.output
    assert "run 2 of test_differs differs from run 1 first at aten.mul.Tensor" in workers.section("test_differs")


def test_a_marker_without_meaning_is_an_error_of_the_test_in_a_worker(workers: Session) -> None:
    assert workers.outcome("test_refused") == "ERROR"
    assert "test_refused.py::test_refused: the marker takes other arguments" in workers.section("test_refused")
    assert "was run" not in workers.output
    assert "INTERNALERROR" not in workers.output


def test_workers_without_a_hash_seed_are_warned_of(session: Session, workers: Session) -> None:
    assert "reproducible: PYTHONHASHSEED is not set, so each worker orders sets" in workers.output
    assert "PYTHONHASHSEED" not in session.output


@pytest.mark.parametrize(("value", "warned"), [("0", False), ("random", True), ("", True)])
def test_a_hash_seed_is_enough(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, value: str, warned: bool
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", value)
    monkeypatch.setattr(pytestconfig.option, "tx", ["popen"], raising=False)
    monkeypatch.setattr(pytestconfig.option, "dist", "load", raising=False)
    summary = Summary(pytestconfig, PluginOptions({}, check=None, leaks=False))

    assert len(summary.pytest_report_header()) == warned


def test_seeds_of_pytest_randomly_seed_torch_alone() -> None:
    import random

    import numpy as np

    with reproducible(1):
        python, numpy = random.getstate(), np.random.get_state(legacy=False)
        seed_torch(2**32 + 5)
        drawn = torch.rand(3)

        assert random.getstate() == python
        assert str(np.random.get_state(legacy=False)) == str(numpy)
        torch.manual_seed(5)
        assert torch.equal(torch.rand(3), drawn)


def test_torch_is_not_imported_to_be_seeded_and_is_seeded_once_it_is_imported() -> None:
    code = """
import sys
from deterministic.pytest_plugin import seed_torch
seed_torch(3)
seed_torch(-5)
assert "torch" not in sys.modules and "numpy" not in sys.modules
import torch
drawn = torch.rand(3)
torch.manual_seed(-5 % 2**32)
assert torch.equal(drawn, torch.rand(3))
assert not torch.cuda.is_initialized()
print("ok")
"""
    assert run_python(code) == "ok"


def test_seeds_of_pytest_randomly_do_not_hinder_what_imports_torch_for_the_first_time(tmp_path: Path) -> None:
    text = "def test_it():\n    from deterministic import reproducible\n    with reproducible(seed=1): pass\n"
    session = run_suite(tmp_path, {"test_it.py": text}, "-p", "randomly")
    assert "1 passed" in session.output


def test_a_session_without_marked_tests_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    text = """
import sys

def test_it(tmp_path):
    assert "deterministic.pytest_plugin" in sys.modules
    assert not {"torch", "numpy", "deterministic.scope.reproducible"} & {*sys.modules}
"""
    session = run_suite(tmp_path, {"test_it.py": text})

    assert session.code == 0, session.output
    assert "reproducible" not in session.output
    assert "deterministic-" in session.output, "it is found by its entry point"
    assert sys.modules["torch"] is torch


EXAMPLES = """
import random
import pytest, torch
from hypothesis import given, settings, strategies as st

@pytest.mark.reproducible(seed=4)
@settings(max_examples=20, derandomize=True, database=None)
@given(st.integers(1, 5))
def test_every_example(size):
    assert random.random() == random.Random(4).random()
    assert torch.initial_seed() == 4
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(4))
    torch.rand(size)
"""


@pytest.mark.parametrize("options", [(), ("--reproducible-check=2",)])
def test_every_example_of_hypothesis_begins_from_the_seed(options: tuple[str, ...], tmp_path: Path) -> None:
    session = run_suite(tmp_path, {"test_it.py": EXAMPLES}, "-p", "hypothesispytest", *options)
    assert session.outcome("test_every_example") == "PASSED", session.output
