"""What `verify` says of values that cannot be compared, or that there are none of."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from deterministic import verify
from tests.trace.objects import DataModule
from tests.trace.test_subclasses import Wrapper
from tests.verify.repeated import counted, step


def meta() -> None:
    model = nn.Linear(2, 2, device="meta")
    step(torch.optim.Adam(model.parameters()), model, torch.ones(1, 2, device="meta"))


def test_tensors_that_hold_nothing_are_nothing_to_compare() -> None:
    report = verify(meta, runs=2)
    assert report.outcome == "could not tell"
    assert "state weight: float32 without values" in str(report)
    assert "nothing was recorded" not in str(report)


def test_values_that_cannot_be_read_leave_it_open() -> None:
    def run() -> torch.Tensor:
        model = nn.Linear(2, 1)
        step(torch.optim.SGD(model.parameters(), lr=0.1), model, torch.ones(1, 2))
        wrapped = nn.Linear(2, 1)
        wrapped.weight = nn.Parameter(Wrapper(torch.tensor([[random.SystemRandom().random(), 1.0]])))
        wrapped(torch.ones(1, 2))
        return model.weight

    report = verify(run, runs=2)
    assert report.outcome == "could not tell"
    assert "could not be read" in str(report)
    assert "state weight: Wrapper" in str(report)


def test_what_holds_no_values_yet_is_no_reason_for_doubt() -> None:
    def run() -> Any:
        model = nn.Sequential(nn.LazyLinear(2))
        return model(torch.ones(1, 2)) + torch.func.vmap(model)(torch.ones(3, 2))

    assert verify(run, runs=2)
    assert verify(lambda: nn.LazyLinear(2)(torch.ones(1, 2)), runs=2).notes == []


def test_a_training_by_function_transforms_is_compared_within_them() -> None:
    def run(noise: Callable[[], float]) -> None:
        model = nn.Linear(2, 1)
        weights = {name: one.detach() for name, one in model.named_parameters()}

        def loss(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            return cast(torch.Tensor, torch.func.functional_call(model, weights, (x,))).square().mean()

        for _ in range(3):
            gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, torch.ones(4, 2))
            weights = {name: one - gradients[name].mean(0) + noise() for name, one in weights.items()}

    assert verify(run, lambda: 0.5, runs=2).notes == []
    report = verify(run, random.SystemRandom().random, runs=2)
    assert report.outcome == "different"
    assert "a Python number differed" in str(report)


class Result:
    pass


@pytest.mark.usefixtures("warm_pythons")
@pytest.mark.parametrize("isolate", [False, True])
def test_what_is_returned_and_cannot_be_compared_is_named(isolate: bool) -> None:
    report = verify(Result, runs=2, isolate=isolate)
    assert report.outcome == "could not tell"
    assert report.reasons == ["could not be compared (`fingerprint` says what can be): returned: Result"]


def test_what_cannot_be_compared_is_noted_beside_what_can() -> None:
    def run() -> Result:
        model = nn.Linear(2, 1)
        step(torch.optim.SGD(model.parameters(), lr=0.1), model, torch.ones(1, 2))
        return Result()

    report = verify(run, runs=2)
    assert report.outcome == "same"
    assert report.notes == ["could not be compared (`fingerprint` says what can be): returned: Result"]


def test_a_dataclass_that_is_a_module_is_compared_by_its_weights() -> None:
    def run(number: int) -> DataModule:
        return DataModule(float(number))

    assert verify(counted(run)).outcome == "different"


def test_what_contains_itself_or_is_nested_too_deep_is_refused() -> None:
    def cycle() -> list[Any]:
        value: list[Any] = []
        value.append(value)
        return value

    def deep() -> list[Any]:
        value: list[Any] = []
        for _ in range(1000):
            value = [value]
        return value

    with pytest.raises(ValueError, match=r"contains itself[\s\S]*where: "):
        verify(cycle, runs=2)
    with pytest.raises(ValueError, match=r"nested too deep[\s\S]*where: "):
        verify(deep, runs=2)


def test_a_long_list_is_compared() -> None:
    def run(number: int) -> list[float]:
        return [0.0] * 200_000 + [float(number)]

    assert verify(lambda: [0.0] * 200_000, runs=2)
    assert verify(counted(run)).outcome == "different"
