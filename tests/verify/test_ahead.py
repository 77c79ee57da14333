"""Operations at the beginning of a run in a process of its own are recorded before a difference is known."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils import _python_dispatch

from deterministic.trace.recording import kept as kept_module
from deterministic.trace.recording import recorder
from deterministic.verification.performing import perform
from deterministic.verification.report import Report
from deterministic.verification.runs import Done, FunctionTask, Plan
from deterministic.verification.verification import Verification


class Counted:
    """Runs here, as if in processes of their own, a function of the number of the run, and counts how often."""

    def __init__(self, function: Callable[[int], object]) -> None:
        self.function = function
        self.runs: list[int] = []
        self.ahead: list[bool] = []

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        self.runs.append(repetition)
        self.ahead.append(plan.ahead)
        return perform(FunctionTask(self.function, (repetition,)), plan, on_step)

    def report(self, folder: Path, runs: int = 2) -> Report:
        return Verification("train", self, runs, folder).report()


def trained(differs: int, *, logs: bool = False) -> Callable[[int], None]:
    """Return a training whose runs differ at a step; and log what differs and reaches nothing, at each step."""
    clock = itertools.count()

    def train(run: int) -> None:
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        for step in range(4):
            if logs:
                torch.tensor(float(next(clock)))
            scale = torch.full((3,), 2.0)
            if step == differs and run:
                scale = scale + 1  # here
            optimizer.zero_grad()
            (weight * scale).sum().backward()
            optimizer.step()

    return train


def trained_by_hand(run: int) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    for step in range(4):
        scale = torch.full((3,), 2.0)
        if step == 2 and run:
            scale = scale + 1  # here
        (weight * scale).sum().backward()
        assert weight.grad is not None
        with torch.no_grad():
            weight.sub_(0.1 * weight.grad)
        weight.grad = None


def line_of(report: Report) -> str:
    assert report.divergence is not None
    assert report.divergence.pair is not None or report.divergence.second is not None
    moment = report.divergence.second
    assert moment is not None
    return moment.site.text


@pytest.mark.parametrize("step", [0, 2])
def test_a_difference_at_the_beginning_needs_no_run_beside_the_two(step: int, tmp_path: Path) -> None:
    counted = Counted(trained(step))
    report = counted.report(tmp_path, runs=3)
    assert counted.runs == [0, 1]
    assert report.headline.endswith(f"first at step {step} of 4")
    assert "scale = scale + 1" in line_of(report)
    assert report.divergence is not None
    assert report.divergence.later_steps == 3 - step


def test_so_it_is_with_updates_by_hand_whose_end_is_seen_later(tmp_path: Path) -> None:
    counted = Counted(trained_by_hand)
    report = counted.report(tmp_path)
    assert counted.runs == [0, 1]
    assert report.headline.endswith("first at step 2 of 4")
    assert "scale = scale + 1" in line_of(report)


def test_how_far_apart_values_are_is_told_of_those_very_runs(tmp_path: Path) -> None:
    counted = Counted(lambda run: torch.ones(3).mul(1 + run).sum())
    report = counted.report(tmp_path)
    assert counted.runs == [0, 1]
    assert "3 of 3 elements, by up to 5.0e-01 relative" in " ".join(str(report).split())
    assert "once more" not in str(report)
    assert not [*tmp_path.glob("*.kept")]


def test_a_value_that_was_too_large_to_keep_is_measured_in_a_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "LARGEST", 0)
    counted = Counted(lambda run: torch.ones(3).mul(1 + run).sum())
    report = counted.report(tmp_path)
    assert counted.runs == [0, 1, 0, 1]
    assert "by up to 5.0e-01 relative" in " ".join(str(report).split())
    assert "when both were run once more" in " ".join(str(report).split())


def test_an_operation_that_differs_and_reaches_nothing_is_no_difference(tmp_path: Path) -> None:
    counted = Counted(trained(-1, logs=True))
    report = counted.report(tmp_path)
    assert report.outcome == "same"
    assert counted.ahead == [True, True]
    (note,) = report.notes  # for what is computed with it outside of torch, or saved, is not seen
    assert re.match(r"aten\.lift_fresh at .*test_ahead\.py:\d+ differs, and nothing that was compared depends on", note)
    assert Counted(trained(-1)).report(tmp_path).notes == []
    assert not [*tmp_path.glob("*.kept")]


def test_nor_is_it_the_first_where_another_one_differs_at_a_later_step(tmp_path: Path) -> None:
    counted = Counted(trained(2))
    logged = Counted(trained(2, logs=True))
    (tmp_path / "plain").mkdir()
    (tmp_path / "logged").mkdir()
    assert counted.report(tmp_path / "plain").headline == logged.report(tmp_path / "logged").headline


@pytest.mark.parametrize(("few", "many"), [(1, 1000), (1000, 4)])
def test_what_comes_later_is_replayed(few: int, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FEW", few)
    monkeypatch.setattr(recorder, "MANY", many)
    counted = Counted(trained(2))
    report = counted.report(tmp_path)
    assert (counted.runs, counted.ahead) == ([0, 1, 0, 1], [True, True, False, False])
    assert "scale = scale + 1" in line_of(report)


def test_nothing_that_torch_computed_is_compared_without_a_step_or_a_result(tmp_path: Path) -> None:
    def draws(run: int) -> None:
        torch.ones(3).mul(1 + run)

    report = Counted(draws).report(tmp_path)
    assert report.outcome == "could not tell"
    assert "nothing was recorded that could be compared" in str(report)
    (note,) = report.notes  # all that there is to look at, for what is saved or printed
    assert re.match(r"The first operation that differs is aten\.mul\.Tensor at .*test_ahead\.py:\d+\.", note)

    def draws_alike(run: int) -> None:
        torch.ones(3).mul(2)

    assert Counted(draws_alike).report(tmp_path).notes == []


def test_a_run_that_only_fails_while_it_is_watched_is_run_without(tmp_path: Path) -> None:
    def shy(run: int) -> torch.Tensor:
        if _python_dispatch._get_current_dispatch_mode_stack():
            raise LookupError("not with a mode")
        return torch.ones(2)

    counted = Counted(shy)
    assert str(counted.report(tmp_path)) == "bit-exact: 2 runs of train"
    assert counted.ahead == [True, False, False]


def test_the_process_that_only_compares_runs_does_not_import_torch() -> None:
    compares = ["verification.verification", "verification.isolated", "verification.report", "provenance.manifest"]
    modules = ["cli.verify", "cli.diff", "cli._look", *compares]
    program = f"import sys, {', '.join(f'deterministic.{name}' for name in modules)}\n"
    program += "deterministic.verification.isolated.control_for_job(True)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "False\n"
