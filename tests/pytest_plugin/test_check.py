"""`--reproducible-check N`: marked tests are run again with fresh fixtures, and their bits are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inner import Session, run_suite


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_suite(tmp_path_factory.mktemp("suite"), "compared", "--reproducible-check=3", "--tb=short")


OUTCOMES = {
    "test_same": "PASSED",
    "test_counts": "FAILED",
    "test_fixture_counts": "FAILED",
    "test_changes_what_is_shared": "FAILED",
    "test_nothing_to_compare": "PASSED",
    "test_fails": "FAILED",
    "test_fails_later": "FAILED",
    "test_ends_later": "FAILED",
    "test_xfails": "XFAIL",
    "TestOfUnittest::test_same_method": "PASSED",
    "TestOfUnittest::test_method_counts": "FAILED",
    "test_unmarked": "PASSED",
}


@pytest.mark.parametrize("test", OUTCOMES)
def test_a_test_is_reported_once(checked: Session, test: str) -> None:
    assert checked.outcome(test) == OUTCOMES[test], checked.output


REPORTS = {
    "test_counts": (
        "run 2 of test_counts differs from run 1 first at aten.mul.Tensor",
        "test_compared.py:51 in test_counts   values = torch.ones(3) * next(CALLS)",
        "a Python number differed: other was ",
    ),
    "test_fixture_counts": ("argument counted had changed when run 2 began", 'a fixture with scope="function"'),
    "test_changes_what_is_shared": ("argument shared had changed when run 2 began",),
    "test_fails": ("assert tensor([0.8823]) > 2",),
    "test_fails_later": ("the first run ended with no exception, the second with AssertionError",),
    "test_ends_later": ("the second with Failed",),
    "TestOfUnittest.test_method_counts": ("self.drawn * next(CALLS)", "a Python number differed"),
}


@pytest.mark.parametrize("test", REPORTS)
def test_bits_that_differ_fail_the_test_with_the_report_of_verify(checked: Session, test: str) -> None:
    section = checked.section(test)

    assert all(text in section for text in REPORTS[test]), section
    assert "seeds torch itself" not in section
    assert "isolate=True" not in section


def test_a_test_that_failed_in_its_first_run_fails_as_it_does_without_the_check(checked: Session) -> None:
    assert "not reproducible" not in checked.section("test_fails")


def test_a_fixture_that_fails_in_a_later_run_is_an_error(checked: Session) -> None:
    assert checked.outcome("test_fixture_fails_later") == "PASSED ERROR"
    assert "the fixture broke" in checked.section("test_fixture_fails_later")


def test_what_could_not_be_told_is_said_and_does_not_fail(checked: Session) -> None:
    summary = checked.output.partition("= reproducible: 3 runs of each marked test =")[2]

    assert "3 bit-exact, 6 different, 2 could not tell, 3 not compared (failed or skipped)" in summary, summary
    assert "could not tell: test_compared.py::test_nothing_to_compare\n  nothing was recorded" in summary
    assert "could not tell: test_compared.py::test_fixture_fails_later\n  run 2 did not reach its body" in summary


def test_a_test_that_differs_is_not_tried_again_by_others(checked: Session) -> None:
    assert "rerun" not in checked.output.splitlines()[-1]


def test_the_head_says_that_tests_are_compared(checked: Session) -> None:
    assert "reproducible: marked tests run 3 times and are compared" in checked.output


def test_a_failing_teardown_of_what_is_shared_is_reported_once(checked: Session) -> None:
    assert checked.outcome("TestOfAClass::test_last_of_its_class") == "PASSED ERROR"
    assert checked.output.count("RuntimeError: torn down") == 2  # the traceback, the summary
    assert checked.output.count("ERROR at teardown") == 1


INNERMOST = """
import builtins, random, unittest
import pytest, torch
from deterministic import current_run, make_loader, reproducible

@pytest.mark.reproducible(seed=4)
def test_the_scope_of_the_test_stays_the_innermost(reproducible_run):
    assert current_run() is reproducible_run
    with reproducible() as run:
        assert run.seed == 4
    order = [int(item) for batch in make_loader(list(range(8)), batch_size=4, shuffle=True) for item in batch]
    assert order == [int(item) for batch in make_loader(list(range(8)), 4, True, seed=4) for item in batch]

@pytest.mark.reproducible
class Test(unittest.TestCase):
    def test_fails_in_its_second_run(self):
        torch.rand(1)
        builtins.runs = getattr(builtins, "runs", 0) + 1
        self.assertEqual(builtins.runs, 1)

    def test_is_skipped(self):
        self.skipTest("no")
"""


def test_what_is_checked_is_the_test_as_it_is(tmp_path: Path) -> None:
    session = run_suite(tmp_path, {"test_it.py": INNERMOST}, "--reproducible-check=2")
    assert session.outcome("test_the_scope_of_the_test_stays_the_innermost") == "PASSED", session.output
    assert session.outcome("Test::test_fails_in_its_second_run") == "FAILED"
    assert "the second with AssertionError" in session.section("Test.test_fails_in_its_second_run")
    assert "1 bit-exact, 1 different, 1 not compared" in session.output
