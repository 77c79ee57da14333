"""The ini file: a seed for every test, and what a marker leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inner import Session, run_suite

FILES = {
    "test_it.py": '''
import random, torch, pytest
from deterministic import current_run

def drawn(seed):
    return random.Random(seed).random()

def test_plain():
    assert random.random() == drawn(7)
    assert torch.is_deterministic_algorithms_warn_only_enabled()

@pytest.mark.reproducible
def test_bare():
    assert random.random() == drawn(7)
    assert torch.is_deterministic_algorithms_warn_only_enabled()

@pytest.mark.reproducible(seed=8, deterministic=False, num_threads=1)
def test_own():
    assert random.random() == drawn(8)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1

@pytest.mark.reproducible(enabled=False)
def test_left_alone():
    assert not torch.are_deterministic_algorithms_enabled()

def documented():
    """
    >>> import random
    >>> random.random() == drawn(7)
    True
    """
''',
    "test_run.py": """
import random
from deterministic import current_run

def test_argument(reproducible_run):
    assert current_run() is reproducible_run

def test_asked_for(request):
    assert request.getfixturevalue("reproducible_run").seed == SEED
""",
}
HEAD = "reproducible: seed 7 for every test, deterministic='warn'"


def test_a_seed_in_the_ini_file_is_that_of_every_test(tmp_path: Path) -> None:
    ini = "reproducible_seed = 7\nreproducible_deterministic = warn\n"
    files = {**FILES, "test_run.py": FILES["test_run.py"].replace("SEED", "7")}
    session = run_suite(tmp_path, files, "--doctest-modules", ini=ini)

    assert session.code == 0, session.output
    assert "7 passed" in session.output
    assert HEAD in session.output


WIDE = """
import pytest, torch

@pytest.fixture(scope="module", autouse=True)
def seeds_by_hand():
    torch.manual_seed(3)

@pytest.fixture(scope="module")
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)

@pytest.mark.reproducible
def test_marked(request):
    assert torch.get_default_dtype() == torch.float32
    request.getfixturevalue("double")
    assert torch.get_default_dtype() == torch.float64
    assert torch.are_deterministic_algorithms_enabled()

def test_of_a_seed_by_hand():
    expected = torch.rand(3, dtype=torch.float32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.rand(3, dtype=torch.float32), expected)

def test_of_a_dtype_that_was_asked_for_in_a_scope(double):
    assert torch.get_default_dtype() == torch.float64
    assert not torch.are_deterministic_algorithms_enabled()
"""


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Session:
    text = """
import pytest, torch
from deterministic.errors import DeterministicError

def test_without_a_marker_there_is_no_scope():
    from deterministic import current_run
    with pytest.raises(DeterministicError):
        current_run()

@pytest.fixture
def first():
    assert torch.are_deterministic_algorithms_enabled()

def test_argument(first, reproducible_run):
    torch.manual_seed(1)
    assert reproducible_run.seed == 42
    assert torch.are_deterministic_algorithms_enabled()

def test_asked_for(request):
    assert torch.default_generator.initial_seed() != 42
    assert request.getfixturevalue("reproducible_run").seed == 42
    assert torch.default_generator.initial_seed() == 42

@pytest.fixture(scope="module")
def wide(request):
    return request.getfixturevalue("reproducible_run")

def test_of_a_wide_fixture(wide):
    pass

@pytest.mark.reproducible
def test_of_the_launch(reproducible_run):
    assert reproducible_run.seed == 42

@pytest.fixture
def broken():
    raise RuntimeError("broken")

@pytest.mark.reproducible
def test_broken(broken):
    pass

@pytest.fixture
def torn():
    yield
    raise RuntimeError("torn")

@pytest.mark.reproducible
def test_torn(torn):
    pass

def test_afterwards():
    assert not torch.are_deterministic_algorithms_enabled()
"""
    return run_suite(tmp_path_factory.mktemp("suite"), {"test_it.py": text, "test_wide.py": WIDE})


def test_a_test_that_asks_for_the_run_has_a_scope(without: Session) -> None:
    for test in ("test_without_a_marker_there_is_no_scope", "test_argument", "test_asked_for", "test_afterwards"):
        assert without.outcome(test) == "PASSED", without.output


def test_what_a_fixture_of_several_tests_did_outlives_the_scope_that_it_was_set_up_in(without: Session) -> None:
    for test in ("test_marked", "test_of_a_seed_by_hand", "test_of_a_dtype_that_was_asked_for_in_a_scope"):
        assert without.outcome(test) == "PASSED", without.output


def test_a_fixture_of_several_tests_cannot_have_the_run_of_one(without: Session) -> None:
    assert without.outcome("test_of_a_wide_fixture") == "ERROR"
    assert "ScopeMismatch" in without.section("test_of_a_wide_fixture")


def test_a_traceback_has_nothing_of_the_plugin_in_it(without: Session) -> None:
    for test, outcome in (("test_broken", "ERROR"), ("test_torn", "PASSED ERROR")):
        assert without.outcome(test) == outcome
        assert "RuntimeError" in without.section(test)
        assert "pytest_plugin" not in without.section(test)
