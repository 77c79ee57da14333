"""What headers and footers add to a cause: which generator was drawn from, who seeded it, and at which line."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable
from pathlib import Path
from random import seed as seed_python
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import manual_seed

from deterministic import diff, record, reproducible, verify
from deterministic.trace.comparing.diff import generators_apart
from deterministic.trace.comparing.reasons import Reason

SEED_THERE = "Give it a fixed seed there"


def now() -> int:
    return time.time_ns() % 2**31


def by_the_clock() -> torch.Tensor:
    torch.manual_seed(now())
    return torch.rand(2)


def by_torch_itself() -> torch.Tensor:
    torch.seed()
    return torch.rand(2)


def under_a_name_bound_before() -> torch.Tensor:
    manual_seed(now())
    return torch.rand(2)


def an_own_generator() -> torch.Tensor:
    generator = torch.Generator()
    generator.seed()
    return torch.rand(2, generator=generator)


def numpy_and_nothing_more() -> torch.Tensor:
    np.random.seed(now())
    return torch.ones(2)


def numpy_for_torch() -> torch.Tensor:
    np.random.seed(now())
    return torch.from_numpy(np.random.rand(2)) * 2


def numpy_for_a_decision() -> torch.Tensor:
    np.random.seed(now())
    return torch.ones(2) * int(np.random.rand() * 1e6)


def python_by_the_system() -> float:
    random.seed()
    return random.random()


def python_under_a_name_bound_before() -> str:
    seed_python(now())
    return str(random.random())


def another_generator_of_numpy() -> Any:
    return np.random.default_rng().random(3)


class Said(NamedTuple):
    reason: Reason
    because: str
    remedy: str
    has_line: bool


SEEDED: dict[Callable[[], Any], Said] = {
    by_the_clock: Said(Reason.GENERATOR, "(default cpu) differed before the draw: the code", SEED_THERE, True),
    by_torch_itself: Said(Reason.GENERATOR, "before the draw: the code seeded it with", SEED_THERE, True),
    under_a_name_bound_before: Said(Reason.GENERATOR, "before the draw: the code seeded it with", SEED_THERE, True),
    an_own_generator: Said(Reason.GENERATOR, "(own cpu) differed before the draw: the code", "run.gene", False),
    numpy_and_nothing_more: Said(
        Reason.GENERATOR, "numpy.random ended in another state: the code seeded it", SEED_THERE, True
    ),
    numpy_for_torch: Said(
        Reason.OUTSIDE,
        "made of data from outside torch, and that data differed",
        "The code seeded numpy.random with",
        True,
    ),
    numpy_for_a_decision: Said(Reason.NUMBER, "other was", "The code seeded numpy.random with", True),
    python_by_the_system: Said(
        Reason.GENERATOR,
        "python.random was drawn from, and ended in another state: the code seeded it from the system's entropy",
        SEED_THERE,
        True,
    ),
    python_under_a_name_bound_before: Said(
        Reason.GENERATOR,
        "nothing that torch computed differs; python.random was drawn from, and ended in another state",
        "what seeds it in the run",
        False,
    ),
    another_generator_of_numpy: Said(
        Reason.OUTSIDE,
        "nothing that torch computed differs: it came from numpy, another library or its threads",
        "run.numpy(name)",
        False,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("function", SEEDED, ids=lambda function: function.__name__)
def test_the_code_s_own_seeds_are_told(function: Callable[[], Any]) -> None:
    said = SEEDED[function]
    verdict = verify(function, runs=2).verdict
    assert verdict is not None
    assert verdict.cause is not None
    assert verdict.cause.reason is said.reason, str(verdict)
    assert said.because in verdict.cause.because
    assert said.remedy in verdict.cause.remedy
    assert "Seed it first" not in verdict.cause.remedy
    line = inspect.getsourcelines(function)[1] + 1
    told = f"at tests/trace/test_blame.py:{line}" in verdict.cause.because + verdict.cause.remedy
    assert told is said.has_line, str(verdict)


@pytest.mark.parametrize(
    ("function", "name"), [(lambda: np.random.rand(3), "numpy.random"), (lambda: str(random.random()), "python.random")]
)
def test_as_it_is_what_nobody_seeded_is_named(function: Callable[[], Any], name: str) -> None:
    with reproducible(0):
        verdict = verify(function, runs=2, control=False).verdict
    assert verdict is not None
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.GENERATOR
    because = f"{name} was drawn from, and was in another state when the second run began"
    assert verdict.cause.because == f"nothing that torch computed differs; {because}"
    assert "reproducible(seed=...)" in verdict.cause.remedy


def test_a_generator_that_was_not_drawn_from_is_not_blamed() -> None:
    numbers = iter([np.ones(2), np.zeros(2)] * 4)
    with reproducible(0):
        verdict = verify(lambda: next(numbers), runs=2, control=False).verdict
    assert verdict is not None
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.OUTSIDE


def test_both_seeds_and_the_line_are_in_the_note() -> None:
    report = verify(by_the_clock, runs=2)
    line = inspect.getsourcelines(by_the_clock)[1] + 1
    note = report.notes[0]
    assert note.startswith("The code seeds torch itself, with ")
    assert " and with " in note
    assert f", at tests/trace/test_blame.py:{line}: that seed was compared" in note


def test_two_traces_with_other_seeds_of_the_code_are_told_apart_by_them(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        with reproducible(0), record(tmp_path / name):
            torch.manual_seed(seed)
            torch.rand(2)
    (verdict,) = diff(tmp_path / "a", tmp_path / "b").verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.GENERATOR
    assert "the code seeded it with 1 in the first run, with 2 in the second, at " in verdict.cause.because


def test_a_draw_before_the_code_seeds_is_not_due_to_that(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        with reproducible(seed), record(tmp_path / name):
            torch.rand(2)
            torch.manual_seed(seed)
    (verdict,) = diff(tmp_path / "a", tmp_path / "b").verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.GENERATOR
    assert "seeded it" not in verdict.cause.because


@pytest.mark.usefixtures("warm_pythons")
def test_what_nobody_seeded_in_two_processes_was_not_seeded_by_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    verdict = verify(unseeded, runs=2, isolate=True, control=False).verdict
    assert verdict is not None
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.GENERATOR
    assert "seeded it" not in verdict.cause.because
    assert "Seed it first" in verdict.cause.remedy


def unseeded() -> torch.Tensor:
    result = torch.rand(2)
    torch.manual_seed(now())  # too late for the draw
    return result


def test_a_seed_in_one_run_alone_is_told() -> None:
    runs = iter(range(100))

    def run() -> torch.Tensor:
        if next(runs) % 2:
            torch.manual_seed(7)
        return torch.rand(2)

    verdict = verify(run, runs=2).verdict
    assert verdict is not None
    assert verdict.cause is not None
    assert "the code seeded it with nothing in the first run, with 7 in the second" in verdict.cause.because


def test_a_seed_that_another_one_followed_is_not_the_one_to_blame() -> None:
    numbers = iter(range(100))

    def run() -> torch.Tensor:
        torch.manual_seed(now())
        torch.manual_seed(0)
        for _ in range(next(numbers)):
            hidden.bernoulli_()
        return torch.rand(2)

    hidden = torch.zeros(1)
    verdict = verify(run, runs=2).verdict
    assert verdict is not None
    assert verdict.cause is not None
    assert "seeded it" not in verdict.cause.because


def test_the_same_seeds_of_the_code_are_no_reason(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with reproducible(0), record(tmp_path / name):
            torch.manual_seed(1)
            for _ in range(1 + (name == "b")):
                torch.rand(1)
            torch.rand(2)
    (verdict,) = diff(tmp_path / "a", tmp_path / "b").verdicts
    assert verdict.cause is not None
    assert "seeded it" not in verdict.cause.because


def test_a_trace_that_was_not_finished_tells_of_no_generator() -> None:
    headers: Any = ({"generators": {"numpy.random": "1"}}, {"generators": {"numpy.random": "1"}})
    assert generators_apart(headers, ({}, {})) == []
