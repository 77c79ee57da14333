"""`--reproducible-leaks`: a test that leaves a source changed fails, and the source is named."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random.mtrand import set_bit_generator

from deterministic import reproducible
from deterministic.pytest_plugin.settings import has_only_drawn
from deterministic.sources.numpy_random import NumpyRandom
from deterministic.sources.python_random import PythonRandom
from deterministic.sources.torch_cpu import TorchCpu

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
GENERATORS = {
    "test_seeds_python": "python.random: seeded, or its state was set",
    "test_seeds_numpy": "numpy.random: seeded, or its state was set",
    "test_seeds_torch": "torch.cpu: seeded, or its state was set",
}


@pytest.mark.parametrize("test", [*SETTINGS, *GENERATORS])
def test_what_is_left_changed_is_named(alone: Session, test: str) -> None:
    assert alone.outcome(test) == "PASSED ERROR"
    section = alone.section(test)
    assert "this test left generators or settings changed, or a scope open; they were put back" in section
    assert f"  {(SETTINGS | GENERATORS)[test]}\n" in section
    named = section.count(" -> ") + section.count(": seeded")
    assert named == (3 if test == "test_seeds_torch" else 1)  # torch.manual_seed seeds what waits for CUDA and XPU too


def test_a_scope_that_is_left_open_is_named(alone: Session) -> None:
    assert alone.outcome("test_opens_a_scope") == "PASSED ERROR"
    assert "a scope is open: reproducible() at " in alone.section("test_opens_a_scope")
    assert alone.section("test_opens_a_scope").count("test_leaking.py:") == 1


def test_drawing_is_no_leak_nor_is_what_is_given_back(alone: Session) -> None:
    assert alone.code == 1
    assert "14 passed, 7 errors" in alone.output


def test_the_head_says_what_fails(alone: Session) -> None:
    assert "reproducible: a test that leaves a generator or setting changed fails" in alone.output


@pytest.mark.slow
def test_where_pytest_randomly_seeds_before_each_phase_generators_are_not_watched(with_randomly: Session) -> None:
    for test in SETTINGS:
        assert with_randomly.outcome(test) == "PASSED ERROR", with_randomly.output
    assert "14 passed, 4 errors" in with_randomly.output


def test_without_the_option_nothing_is_watched(tmp_path: Path) -> None:
    text = "import random, sys\n\ndef test_it():\n    random.seed(1)\n    assert 'torch' not in sys.modules\n"
    session = run_suite(tmp_path, {"test_it.py": text})

    assert session.code == 0, session.output


PYTHON, NUMPY, TORCH = PythonRandom(), NumpyRandom(), TorchCpu()

MOVES: dict[str, tuple[Any, Any, bool]] = {
    "Python draws": (PYTHON, lambda: random.random(), True),
    "Python draws much": (PYTHON, lambda: random.getrandbits(32 * 2000), True),
    "Python draws a block": (PYTHON, lambda: random.getrandbits(32 * 624), True),
    "Python seeds": (PYTHON, lambda: random.seed(3), False),
    "Python goes back": (PYTHON, lambda: random.setstate(_rewound(random.getstate())), False),
    "numpy draws": (NUMPY, lambda: np.random.randn(), True),
    "numpy draws much": (NUMPY, lambda: np.random.rand(100_000), True),
    "numpy seeds": (NUMPY, lambda: np.random.seed(3), False),
    "numpy has another generator": (NUMPY, lambda: set_bit_generator(np.random.PCG64(1)), False),
    "torch draws": (TORCH, lambda: torch.randn(1), True),
    "torch seeds": (TORCH, lambda: torch.default_generator.manual_seed(3), False),
}


@pytest.mark.parametrize("move", MOVES)
def test_drawing_is_told_from_seeding(move: str) -> None:
    source, act, expected = MOVES[move]
    with reproducible(1):
        random.getrandbits(32 * 5)  # not at the border of a block
        before = source.capture()
        act()
        now = source.capture()

    assert has_only_drawn(source, before, now) is expected


def _rewound(state: Any) -> Any:
    version, words, gauss = state
    return version, (*words[:-1], words[-1] - 1), gauss
