"""Segments end with optimizer steps, whoever makes them."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from .models import MODELS, train
from .recorded import Recorded, recorded

pytestmark = pytest.mark.usefixtures("apart")


def steps_of(found: Recorded) -> list[tuple[int, int]]:
    return [(step.optimizer, step.number) for step, _ in found.steps]


def sgd(*parameters: nn.Parameter) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def one() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


def test_each_step_ends_a_segment_with_gradients_parameters_and_state() -> None:
    found = recorded(lambda: train(MODELS["lstm"](), 2), "values")
    assert steps_of(found) == [(0, 0), (0, 1), (-1, 2)]
    kinds = [entry.site.kind for entry in found.steps[1][1]]
    assert kinds == ["input", "result", "loss", "gradient", "parameter", "optimizer state"]
    names = [value.name for value in found.all("gradient")[-1].site.values]
    assert names[:2] == ["words.weight", "lstm.weight_ih_l0"]
    assert "exp_avg of words.weight" in [value.name for value in found.all("optimizer state")[-1].site.values]


def test_several_optimizers_are_counted_each_for_itself() -> None:
    a, b = one(), one()

    def body() -> None:
        first, second = sgd(a), sgd(b)
        for step in range(3):
            for parameter, optimizer in ((a, first), (b, second)):
                if step != 1 or optimizer is first:
                    parameter.sum().backward()
                    optimizer.step()

    assert steps_of(recorded(body)) == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (-1, 5)]


def test_an_optimizer_that_is_made_again_is_another_one() -> None:
    parameter = one()

    def body() -> None:
        for _ in range(3):
            parameter.sum().backward()
            sgd(parameter).step()
            gc.collect()

    assert steps_of(recorded(body)) == [(0, 0), (1, 0), (2, 0), (-1, 3)]


def test_gradient_accumulation_is_one_segment() -> None:
    parameter = one()

    def body() -> None:
        optimizer = sgd(parameter)
        for _ in range(3):
            (parameter * 2).sum().backward()
        optimizer.step()

    found = recorded(body)
    assert steps_of(found) == [(0, 0), (-1, 1)]
    assert [entry.site.phase for entry in found.named("mul")][:2] == ["forward", "backward"]


def test_a_step_that_a_scaler_skips_is_none() -> None:
    parameter = one()

    def body() -> None:
        scaler, optimizer = torch.amp.GradScaler("cpu"), sgd(parameter)
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            scaler.scale((parameter * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()

    assert steps_of(recorded(body)) == [(0, 0), (0, 1), (-1, 2)]


def test_a_closure_is_evaluated_as_often_as_without_a_recording() -> None:
    def run(calls: list[int]) -> list[float]:
        parameter = one()
        optimizer = torch.optim.LBFGS([parameter], max_iter=3)

        def closure() -> Tensor:
            calls.append(1)
            optimizer.zero_grad()
            loss = (parameter - 3).pow(4).sum()
            loss.backward()
            return loss

        for how in ({"closure": closure}, {}):
            optimizer.step(*([] if how else [closure]), **how)
        return parameter.tolist()

    plain: list[int] = []
    watched: list[int] = []
    assert run(plain) == recorded(lambda: run(watched)).result
    assert len(plain) == len(watched) > 2


def test_a_step_in_another_thread_is_counted_as_missed() -> None:
    parameter = one()

    def elsewhere() -> None:
        optimizer = sgd(parameter)
        parameter.register_post_accumulate_grad_hook(lambda p: optimizer.step())
        parameter.sum().backward()
        optimizer.step()

    def body() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    found = recorded(body)
    assert steps_of(found) == [(-1, 0)]
    assert found.recorder.summary()["steps_of_other_threads"] == 2


def test_a_recording_that_begins_within_a_step_does_not_record_its_end() -> None:
    from .recorded import Memory, Recorder  # type: ignore[attr-defined]

    parameter, made = one(), []

    class Inside(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            made.append(Recorder(Memory(), "ops"))
            made[0].start()

    Inside([parameter], lr=0.1).step()
    made[0].stop()
    assert made[0].steps == 0
