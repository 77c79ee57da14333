"""What one run leaves behind for the next: found, named, and not blamed without a reason."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from deterministic import make_loader, reproducible, verify
from deterministic.trace.reasons import Reason
from tests.verify.repeated import reason_of, step


def test_a_loader_that_was_made_before_is_carried_over() -> None:
    loader = make_loader([float(index) for index in range(8)], batch_size=4, shuffle=True, seed=1)

    def run() -> None:
        for _ in loader:
            pass

    report = verify(run)
    assert reason_of(report) is Reason.CARRIED_OVER
    assert "loader" in str(report)
    assert "isolate=True" in str(report)


@pytest.mark.parametrize("where", ["captured", "argument", "default"])
def test_a_model_that_was_made_before_is_carried_over(where: str) -> None:
    with reproducible(seed=0):
        model = nn.Linear(2, 1)

    def run(given: nn.Module = model) -> None:
        used = model if where == "captured" else given
        step(torch.optim.SGD(used.parameters(), lr=0.1), used, torch.ones(1, 2))

    report = verify(run, model) if where == "argument" else verify(run)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert "weight differed when it was first used" in str(report)
    assert report.verdict is not None
    assert report.verdict.comparison is not None
    assert report.verdict.comparison.divergence is not None
    assert report.verdict.comparison.divergence.segment == 0


def test_a_variable_that_the_line_names_is_to_blame() -> None:
    history = [1.0]

    def run() -> torch.Tensor:
        history.append(2.0)
        return torch.ones(3) * len(history)

    report = verify(run)
    assert reason_of(report) is Reason.CARRIED_OVER
    assert "variable history had changed" in str(report)


def test_a_variable_that_the_line_does_not_name_is_no_more_than_a_note() -> None:
    calls = [0]
    numbers = itertools.count()

    def run() -> torch.Tensor:
        calls[0] += 1
        scale = float(next(numbers))
        return torch.ones(3) * scale

    report = verify(run)
    assert reason_of(report) is Reason.NUMBER
    assert "variable calls had changed when run 2 began, which may be the reason" in str(report)
