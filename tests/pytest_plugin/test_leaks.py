"""`--reproducible-leaks`: a test that leaves a source changed fails, and the source is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inner import Session, run_suite


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_suite(tmp_path_factory.mktemp("suite"), "leaking", "--reproducible-leaks")


@pytest.fixture(scope="module")
def with_randomly(tmp_path_factory: pytest.TempPathFactory) -> Session:
    arguments = ("--reproducible-leaks", "-p", "randomly", "--randomly-seed=1")
    return run_suite(tmp_path_factory.mktemp("suite"), "leaking", *arguments)


SETTINGS = {
    "test_sets_a_flag": "torch.cudnn.deterministic: False -> True",
    "test_sets_a_variable": "environment.CUBLAS_WORKSPACE_CONFIG: not there -> ':16:8'",
    "test_has_an_untidy_fixture": "torch.cudnn.benchmark: False -> True",
}


@pytest.mark.parametrize("test", SETTINGS)
def test_what_is_left_changed_is_named(alone: Session, test: str) -> None:
    assert alone.outcome(test) == "PASSED ERROR"
    section = alone.section(test)
    assert "this test left sources changed; they were given back" in section
    assert f"  {SETTINGS[test]}\n" in section
    assert section.count(" -> ") == 1


def test_a_scope_that_is_left_open_is_named(alone: Session) -> None:
    assert alone.outcome("test_opens_a_scope") == "PASSED ERROR"
    assert "a scope is open: reproducible() at " in alone.section("test_opens_a_scope")
    assert alone.section("test_opens_a_scope").count("test_leaking.py:") == 1


def test_neither_drawing_nor_seeding_is_a_leak_nor_is_what_is_given_back(alone: Session) -> None:
    assert alone.code == 1
    assert "14 passed, 4 errors" in alone.output


def test_the_head_says_what_fails(alone: Session) -> None:
    assert "reproducible: a test that leaves a source changed fails" in alone.output


@pytest.mark.slow
def test_beside_pytest_randomly_it_is_the_same(with_randomly: Session) -> None:
    for test in SETTINGS:
        assert with_randomly.outcome(test) == "PASSED ERROR", with_randomly.output
    assert "14 passed, 4 errors" in with_randomly.output


def test_without_the_option_nothing_is_watched(tmp_path: Path) -> None:
    text = "import random, sys\n\ndef test_it():\n    random.seed(1)\n    assert 'torch' not in sys.modules\n"
    session = run_suite(tmp_path, {"test_it.py": text})

    assert session.code == 0, session.output
