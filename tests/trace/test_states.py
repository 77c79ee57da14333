"""Parameters and buffers that no optimizer steps, and what outermost modules return."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from deterministic import verify

from .recorded import Entry, Recorded, recorded

pytestmark = pytest.mark.usefixtures("apart")


def names(entries: list[Entry]) -> list[tuple[str, list[str]]]:
    return [(entry.site.name, [value.name for value in entry.site.values]) for entry in entries]


def later(found: Recorded) -> list[tuple[str, list[str]]]:
    return names(found.all("later state"))


def test_buffers_that_a_step_changed_are_recorded_with_it_and_no_others() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_buffer("constant", torch.ones(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def body() -> None:
        for _ in range(2):
            model(torch.ones(3, 2)).sum().backward()
            optimizer.step()

    changed = ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert later(recorded(body, "values")) == [("Sequential after a step", changed)] * 2


class Averaging(nn.Module):
    """Makes its buffer anew in each call."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean = self.mean * 0.9 + x.detach().mean(0)
        result: torch.Tensor = self.linear(x)
        return result


def test_a_buffer_that_is_another_tensor_each_time_is_recorded_each_time() -> None:
    model = Averaging()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def body() -> None:
        for _ in range(4):
            model(torch.ones(3, 2)).sum().backward()
            optimizer.step()

    found = recorded(body, "values")
    assert later(found) == [("Averaging after a step", ["mean"])] * 4
    assert len({tuple(entry.hashes) for entry in found.all("later state")}) == 4


def averaged(write: Callable[[torch.Tensor, torch.Tensor], object]) -> Callable[[], None]:
    """Return a training with a teacher that follows the student, and is never stepped."""
    student = nn.Linear(2, 1)
    teacher = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)

    def body() -> None:
        for _ in range(2):
            (student(torch.ones(2)) - teacher(torch.ones(2))).square().sum().backward()
            optimizer.step()
            for one, other in zip(teacher.parameters(), student.parameters(), strict=True):
                with torch.no_grad():
                    write(one, other)

    return body


def test_a_teacher_is_recorded_at_the_next_step_and_at_the_end() -> None:
    found = recorded(averaged(lambda one, other: one.lerp_(other + 1, 0.5)), "values")
    assert later(found) == [
        ("Linear after a step", ["weight", "bias"]),
        ("Linear at the end", ["weight", "bias"]),
    ]


def test_what_data_changed_is_found_at_the_end() -> None:
    found = recorded(averaged(lambda one, other: one.data.lerp_(other + 1, 0.5)), "values")
    assert later(found) == [("Linear at the end", ["weight", "bias"])]


def test_where_nothing_but_steps_changed_anything_nothing_is_added() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def body() -> None:
        model(torch.ones(2)).sum().backward()
        optimizer.step()

    assert later(recorded(body, "values")) == []


def test_the_result_of_an_outermost_module_is_recorded_at_its_line() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    found = recorded(lambda: model(torch.ones(2)), "values").all("result")
    assert [(entry.site.name, entry.site.module_class) for entry in found] == [("Sequential", "Sequential")]
    assert "model(torch.ones(2))" in found[0].site.text


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.last = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.linear(x) + torch.rand(1, generator=torch.Generator().manual_seed(0))
        return result


def test_an_evaluation_alone_is_compared_by_its_results() -> None:
    import random

    class Dirty(Noisy):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + random.SystemRandom().random()  # the fault

    def evaluate(kind: type[nn.Module]) -> None:
        model = kind().eval()
        with torch.no_grad():
            model(torch.ones(2))

    assert verify(lambda: evaluate(Noisy), runs=2).outcome == "same"
    found = verify(lambda: evaluate(Dirty), runs=2)
    assert found.outcome == "different"
    assert "# the fault" in str(found)


def test_what_a_module_is_given_says_nothing_of_what_is_computed() -> None:
    class Silent(nn.Linear):
        def forward(self, input: torch.Tensor) -> None:  # type: ignore[override]
            super().forward(input)

    found = recorded(lambda: Silent(2, 1)(torch.ones(2)), "values")
    assert [len(found.all(kind)) for kind in ("state", "input", "result")] == [1, 1, 0]
    assert found.recorder.compared == 0
    assert verify(lambda: Silent(2, 1)(torch.ones(2)), runs=2).outcome == "could not tell"


def test_modules_are_not_kept_alive() -> None:
    found = recorded(lambda: nn.Linear(2, 1)(torch.ones(2)).detach(), "values")
    assert len(found.recorder._states._roots) == 0
    assert len(found.recorder._states._marks) == len(found.recorder._states._hashes) == 0
