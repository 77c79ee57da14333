"""Functions that are not the same at each call, and what a report says of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from deterministic.trace.comparing.reasons import Reason
from deterministic.verification.report import Report


def counted(function: Callable[[int], Any]) -> Callable[[], Any]:
    """Return a function that gives `function` another number at each call, in a way that no variable shows."""
    numbers = itertools.count()
    return lambda: function(next(numbers))


def step(optimizer: torch.optim.Optimizer, model: nn.Module, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()


def reason_of(report: Report) -> Reason | None:
    return report.verdict.cause.reason if report.verdict is not None and report.verdict.cause is not None else None
