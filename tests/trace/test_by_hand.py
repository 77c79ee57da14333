"""Trainings without `torch.optim`: what counts as a step of theirs, and what is recorded of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deterministic import verify
from deterministic.trace.recording import steps
from deterministic.trace.recording.seeding import ACTIVE
from deterministic.trace.recording.torch_internals import autograd, engine

from .recorded import Recorded, recorded

pytestmark = pytest.mark.usefixtures("apart")

X, Y = torch.linspace(-1, 1, 32).reshape(8, 4), torch.ones(8, 1)

Noise = Callable[[], float]


@pytest.fixture(autouse=True)
def left_as_it_was() -> Iterator[None]:
    yield
    assert autograd._engine_run_backward is engine
    assert not steps._watching


def steps_of(found: Recorded) -> list[tuple[int, int]]:
    return [(step.optimizer, step.number) for step, _ in found.steps]


def net() -> nn.Module:
    torch.default_generator.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def by_data(noise: Noise) -> None:
    model = net()
    for _ in range(3):
        x = X + noise()
        model.zero_grad()
        F.mse_loss(model(x), Y).backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.data.add_(parameter.grad, alpha=-0.1)


def without_gradients(noise: Noise) -> None:
    model = net()
    for _ in range(3):
        x = X + noise()
        F.mse_loss(model(x), Y).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
                parameter.grad.zero_()


def all_at_once(noise: Noise) -> None:
    model = net()
    for _ in range(3):
        x = X + noise()
        gradients = torch.autograd.grad(F.mse_loss(model(x), Y), [*model.parameters()])
        with torch.no_grad():
            torch._foreach_add_([*model.parameters()], gradients, alpha=-0.1)


def of_plain_tensors(noise: Noise) -> None:
    weight, bias = torch.ones(4, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(3):
        x = X + noise()
        loss = F.mse_loss(x @ weight + bias, Y)
        weight.grad = bias.grad = None
        loss.backward()
        for leaf in (weight, bias):
            assert leaf.grad is not None
            leaf.data += -0.1 * leaf.grad


def by_rebinding(noise: Noise) -> None:
    weight = torch.ones(4, 1, requires_grad=True)
    for _ in range(3):
        x = X + noise()
        loss = F.mse_loss(x @ weight, Y)
        loss.backward()
        assert weight.grad is not None
        weight = (weight - 0.1 * weight.grad).detach().requires_grad_()


def functional(noise: Noise) -> None:
    model = net()
    parameters = {name: one.detach().clone().requires_grad_() for name, one in model.named_parameters()}
    for _ in range(3):
        x = X + noise()
        loss = F.mse_loss(torch.func.functional_call(model, parameters, (x,)), Y)
        gradients = torch.autograd.grad(loss, [*parameters.values()])
        parameters = {
            name: (one - 0.1 * gradient).detach().requires_grad_()
            for (name, one), gradient in zip(parameters.items(), gradients, strict=True)
        }


TRAININGS = [by_data, without_gradients, all_at_once, of_plain_tensors, by_rebinding, functional]


@pytest.mark.parametrize("train", TRAININGS)
def test_each_update_is_a_step(train: Callable[[Noise], None]) -> None:
    of_values, of_operations = (recorded(lambda: train(lambda: 0.0), level) for level in ("values", "ops"))
    assert steps_of(of_values) == [(0, 0), (0, 1), (0, 2), (-1, 3)]
    assert [segment for segment, _ in of_operations.steps] == [segment for segment, _ in of_values.steps]
    for (_, few), (_, many) in zip(of_values.steps, of_operations.steps, strict=True):
        kinds = [entry.site.kind for entry in many]
        assert [kind for kind in kinds if kind not in ("operation", "module")] == [one.site.kind for one in few]


@pytest.mark.slow
@pytest.mark.parametrize("train", TRAININGS)
def test_a_clean_one_is_bit_exact_and_a_fault_in_it_is_found_at_its_line(train: Callable[[Noise], None]) -> None:
    clean = verify(lambda: train(lambda: 0.0), runs=2)
    assert (clean.outcome, clean.steps) == ("same", 3)

    def faulty() -> None:
        calls = iter(range(9))
        train(lambda: random.SystemRandom().random() if next(calls) == 1 else 0.0)

    found = verify(faulty, runs=2)
    assert found.outcome == "different"
    assert found.divergence is not None
    assert found.divergence.first is not None
    assert found.divergence.first.site.text == "x = X + noise()"
    # Which memory a step has left anew the next backward pass tells, after the forward pass.
    assert found.divergence.segment == (0 if train in (by_rebinding, functional) else 1)


def test_a_step_has_the_gradients_and_the_parameters_by_name() -> None:
    found = recorded(lambda: by_data(lambda: 0.0), "values")
    kinds = [entry.site.kind for entry in found.steps[1][1]]
    assert kinds == ["input", "result", "loss", "gradient", "parameter", "later state"]
    gradient, parameter = found.all("gradient")[1], found.all("parameter")[1]
    assert (gradient.site.name, parameter.site.name) == ("a backward pass", "an update without torch.optim")
    assert {value.name for value in parameter.site.values} == {
        f"{layer}.{name}" for layer in (0, 1, 2) for name in ("weight", "bias")
    }
    assert any(gradient.hashes)
    plain = recorded(lambda: of_plain_tensors(lambda: 0.0), "values")
    assert [value.name for value in plain.all("parameter")[0].site.values] == ["leaf 0", "leaf 1"]


def test_what_follows_an_update_belongs_to_the_next_step() -> None:
    weight = torch.ones(2, requires_grad=True)

    def body() -> None:
        for _ in range(2):
            loss = (weight * 3).cos().sum()
            loss.backward()
            assert weight.grad is not None
            weight.data.sub_(weight.grad)

    found = recorded(body)
    for _, entries in found.steps[:2]:
        operations = [entry.site.name for entry in entries if entry.site.kind == "operation"]
        assert (operations[0], operations[-1]) == ("aten.mul.Tensor", "aten.sub_.Tensor")


def test_what_is_observed_after_an_update_belongs_to_the_next_step() -> None:
    weight = torch.ones(2, requires_grad=True)
    found: list[Recorded] = []
    for level in ("values", "ops"):

        def body() -> None:
            for step in range(2):
                weight.sum().backward()
                with torch.no_grad():
                    weight.sub_(1)
                ACTIVE[-1].observe("step", step)

        found.append(recorded(body, level))
    for one in found:
        kinds = [[e.site.kind for e in entries if e.site.kind != "operation"] for _, entries in one.steps]
        assert kinds == [["loss", "gradient", "parameter"], ["observed", "loss", "gradient", "parameter"], ["observed"]]


def test_a_pass_whose_leaves_stay_as_they_are_is_no_step_but_its_gradients_are_compared() -> None:
    model = nn.Linear(2, 1)

    def body() -> None:
        for _ in range(3):
            model(torch.ones(1, 2)).sum().backward()

    found = recorded(body, "values")
    assert steps_of(found) == [(-1, 0)]
    assert len(found.all("gradient")) == 3
    assert found.recorder.compared


def lbfgs(model: nn.Module) -> None:
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(X).square().mean()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)


def adversarial(model: nn.Module) -> None:
    other = nn.Linear(4, 1)
    first, second = (torch.optim.SGD(one.parameters(), lr=0.1) for one in (model, other))
    model(X).mean().backward()
    other(X).mean().backward()
    first.step()
    second.step()


def accumulated(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for _ in range(3):
            model(X).mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        (lbfgs, [(0, 0), (0, 1), (-1, 2)]),
        (adversarial, [(0, 0), (1, 0), (-1, 2)]),
        (accumulated, [(0, 0), (0, 1), (-1, 2)]),
    ],
)
def test_steps_of_an_optimizer_are_its_own(train: Callable[[nn.Module], None], steps: list[tuple[int, int]]) -> None:
    found = recorded(lambda: train(net()), "values")
    assert steps_of(found) == steps
    assert {entry.site.name for entry in found.all("parameter")} <= {"LBFGS", "SGD"}


def test_twins_of_which_each_has_a_pass_of_its_own_are_not_taken_for_one_that_was_updated() -> None:
    twins = nn.Linear(2, 1), nn.Linear(2, 1)

    def body() -> None:
        for twin in twins:
            twin(torch.ones(2)).sum().backward()
        torch.optim.SGD([*twins[0].parameters(), *twins[1].parameters()], lr=0.1).step()

    assert steps_of(recorded(body, "values")) == [(0, 0), (-1, 1)]


def test_a_pass_within_a_pass_is_none_of_its_own() -> None:
    weight = torch.ones(2, requires_grad=True)

    def body() -> None:
        x = torch.utils.checkpoint.checkpoint(torch.sin, weight * 1, use_reentrant=True)
        x.sum().backward()

    assert len(recorded(body, "values").all("gradient")) == 1


def test_whoever_stands_before_the_engine_later_keeps_their_place() -> None:
    weight, called = torch.ones(2, requires_grad=True), []

    def body() -> None:
        below = autograd._engine_run_backward

        def theirs(*args: object, **kwargs: object) -> object:
            called.append(1)
            return below(*args, **kwargs)

        autograd._engine_run_backward = theirs

    try:
        recorded(body)
        assert autograd._engine_run_backward is not engine
        found = recorded(lambda: weight.sum().backward(), "values")
    finally:
        autograd._engine_run_backward = engine
    assert (len(called), len(found.all("gradient"))) == (1, 1)
    assert len(recorded(lambda: weight.sum().backward(), "values").all("gradient")) == 1


def test_what_dynamo_makes_of_gradients_is_the_same_while_something_records() -> None:
    def slope(x: Tensor) -> Tensor:
        return torch.autograd.grad(x.square().sum(), x)[0] * 2

    def breaks() -> int:
        torch._dynamo.reset()
        count: int = torch._dynamo.explain(slope)(torch.ones(2, requires_grad=True)).graph_break_count
        return count

    assert recorded(breaks, "values").result == breaks()


def test_a_step_within_a_module_that_runs_has_its_result_behind_it_at_each_level() -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            loss: Tensor = self.linear(x).sum()
            loss.backward()
            with torch.no_grad():
                self.linear.weight.sub_(0.1)
            return loss.detach() * 2

    for level in ("values", "ops"):
        found = recorded(lambda: [Trainer()(torch.ones(2)) for _ in range(1)], level)
        kinds = [[e.site.kind for e in es if e.site.kind not in ("operation", "module")] for _, es in found.steps]
        assert kinds == [["state", "input", "loss", "gradient", "parameter"], ["result"]]


def test_leaves_whose_memory_is_freed_meanwhile_have_not_changed() -> None:
    weight = torch.ones(2, requires_grad=True)
    storage, size = weight.untyped_storage(), weight.untyped_storage().nbytes()

    def free_and_look() -> None:
        storage.resize_(0)
        ACTIVE[-1].observe("freed", 1)

    def body() -> None:
        loss = (weight * 2).sum()
        free_and_look()
        loss.backward()
        storage.resize_(size)
        weight.data.fill_(3)
        ACTIVE[-1].observe("gathered", 1)
        (weight * 2).sum().backward()
        free_and_look()

    assert steps_of(recorded(body, "values")) == [(-1, 0)]
