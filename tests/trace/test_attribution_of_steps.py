"""Phase, module and line of the operations of optimizers, wherever they step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from .recorded import Entry, Recorded, line_of, recorded

FILE = "tests/trace/test_attribution_of_steps.py"


pytestmark = pytest.mark.usefixtures("apart")


def in_phase(found: Recorded, phase: str) -> list[Entry]:
    return [entry for entry in found.all() if entry.site.phase == phase]


def at(function: Callable[..., Any], mark: str) -> str:
    return f"{FILE}:{line_of(function, mark)}"


class Piece(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x).sin()
        return result


def test_an_optimizer_s_operations_are_its_own_and_those_of_its_closure_are_not() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.LBFGS([parameter], max_iter=2, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (parameter - 2).square().sum()
        loss.backward()
        return loss

    found = recorded(lambda: optimizer.step(closure))
    phases = {phase: {e.site.name.split(".")[1] for e in in_phase(found, phase)} for phase in ("forward", "backward")}
    assert "pow" in phases["forward"]
    assert phases["backward"]
    assert "dot" in {e.site.name.split(".")[1] for e in in_phase(found, "optimizer")}
    assert "dot" not in phases["forward"] | phases["backward"]


class OwnOptimizer(torch.optim.Optimizer):
    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            parameter.sigmoid_()  # own step


def test_an_optimizer_of_the_user_s_has_the_line_in_its_step() -> None:
    site = recorded(OwnOptimizer([nn.Parameter(torch.ones(2))]).step).one("sigmoid_").site
    assert (site.phase, site.place) == ("optimizer", at(OwnOptimizer.step, "own step"))


def test_what_follows_a_step_that_raised_is_no_optimizer_s() -> None:
    class Failing(OwnOptimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            raise ValueError("in the step")

    parameter = nn.Parameter(torch.ones(2))

    def body() -> None:
        with pytest.raises(ValueError, match="in the step"):
            Failing([parameter]).step()
        parameter.exp().sum().backward()

    found = recorded(body)
    assert found.one("exp").site.phase == "forward"
    assert {e.site.phase for e in found.all()} == {"forward", "backward"}


def test_an_optimizer_within_the_backward_pass_is_its_own_phase() -> None:
    model = Piece()
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: optimizers[p].step())
    found = recorded(lambda: [model(torch.ones(2, 3)).sum().backward() for _ in range(2)])
    steps = [step for step, _ in found.steps if step.optimizer >= 0]
    assert sorted((step.optimizer, step.number) for step in steps) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    updates = [e for e in found.named("add_.Tensor") if "AccumulateGrad" not in e.site.node]
    assert [e.site.phase for e in updates] == ["optimizer"] * 4
    assert {e.site.module for e in in_phase(found, "backward") if "mm" in e.site.name} == {"inner"}


def test_a_step_within_a_step_does_not_end_the_outer_one() -> None:
    inner = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)

    class Around(OwnOptimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            inner.step()
            with torch.no_grad():
                self.param_groups[0]["params"][0].sigmoid_()

    assert recorded(Around([nn.Parameter(torch.ones(2))]).step).one("sigmoid_").site.phase == "optimizer"
