"""What one run leaves behind for the next: found, named, and not blamed without a reason."""

from __future__ import annotations

import functools
import gc
import itertools
import random
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from deterministic import make_loader, reproducible, verify
from deterministic.trace.comparing.reasons import Reason
from deterministic.verification.performing import perform
from deterministic.verification.runs import Done, FunctionTask, Plan
from deterministic.verification.verification import Verification
from tests.verify.repeated import reason_of, step


@pytest.fixture
def thawed() -> Iterator[None]:
    """Let the recorder find the tensors that this file made when it was imported, among all that is collected."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.slow
def test_a_loader_that_was_made_before_is_carried_over() -> None:
    loader = make_loader([float(index) for index in range(8)], batch_size=4, shuffle=True, seed=1)

    def run() -> None:
        for _ in loader:
            pass

    report = verify(run)
    assert reason_of(report) is Reason.CARRIED_OVER
    assert "loader" in str(report)


@pytest.mark.slow
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


made_at_import = nn.Linear(2, 1)


def trains_what_was_made_at_import() -> None:
    step(torch.optim.SGD(made_at_import.parameters(), lr=0.1), made_at_import, torch.ones(1, 2))


class EachMakesItsOwn:
    """Runs here what differs in each process, as if each run had imported the module anew."""

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        with reproducible(seed=repetition):
            made_at_import.reset_parameters()
        return perform(FunctionTask(trains_what_was_made_at_import), plan, on_step)


def test_what_each_process_makes_at_import_was_not_changed_by_another_run(tmp_path: Path) -> None:
    report = Verification("train", EachMakesItsOwn(), 2, tmp_path).report()
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    said = " ".join(str(report).split())
    assert "variable made_at_import, made at import, before the run's seed, differed between the processes: " in said
    assert "Make it inside the function, or seed before it is made." in said
    assert "run 2 began" not in said


def test_a_process_of_its_own_is_no_remedy_for_a_variable_that_may_be_made_without_a_seed() -> None:
    report = verify(trains_what_was_made_at_import, runs=2)
    assert "variable made_at_import had changed when run 2 began" in " ".join(str(report).split())
    assert "isolate=True" not in str(report)


def test_a_process_of_its_own_is_a_remedy_for_an_argument() -> None:
    with reproducible(seed=0):
        model = nn.Linear(2, 1)
    report = verify(lambda given: step(torch.optim.SGD(given.parameters(), lr=0.1), given, torch.ones(1, 2)), model)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert "or pass isolate=True" in " ".join(str(report).split())


def library() -> Any:
    """A module that keeps an average of its calls, in a variable that no caller names."""
    module = types.ModuleType("library")
    source = """
import torch
average = torch.zeros(3)
weight = torch.zeros(3, requires_grad=True)
def smooth():
    average.add_(1)
    return average * 2
def accumulate():
    (weight * 3).sum().backward()
    return weight.grad * 2
"""
    exec(compile(source, "library.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", ["smooth", "accumulate"])
def test_a_tensor_that_a_library_keeps_for_itself_is_carried_over(name: str) -> None:
    function = getattr(library(), name)
    report = verify(lambda: function(), runs=2)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert "was there before the run began" in str(report)
    assert "isolate=True" in str(report)


def test_the_parameter_store_of_pyro_is_carried_over() -> None:
    pyro = pytest.importorskip("pyro")

    def model(x: torch.Tensor) -> None:
        w = pyro.param("w", torch.zeros(3))
        pyro.sample("y", pyro.distributions.Normal((x * w).sum(-1), 1.0).to_event(1), obs=torch.ones(4))

    def train() -> float:
        optimizer, loss = pyro.optim.SGD({"lr": 0.1}), pyro.infer.Trace_ELBO()
        return float(pyro.infer.SVI(model, lambda x: None, optimizer, loss).step(torch.randn(4, 3)))

    pyro.clear_param_store()
    report = verify(train, runs=2)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert "was there before the run began" in str(report)


def test_what_comes_from_outside_is_no_tensor_that_was_there_before() -> None:
    numbers = itertools.count()
    constant = torch.ones(2)

    def run() -> torch.Tensor:
        return torch.frombuffer(bytearray([next(numbers)] * 8), dtype=torch.float32) * constant

    assert reason_of(verify(run, runs=2)) is Reason.OUTSIDE


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pythons")
def test_replays_in_a_process_of_their_own_blame_no_run_before() -> None:
    report = verify(unequal_in_each_process, runs=2, isolate=True, control=reproducible(deterministic=False))
    assert report.outcome == "different"
    assert reason_of(report) is Reason.OUTSIDE, str(report)


at_random = torch.Generator()
at_random.seed()
MADE_AT_IMPORT = torch.rand(8, generator=at_random)


def unequal_in_each_process() -> torch.Tensor:
    return MADE_AT_IMPORT * 2


class Trainer:
    total: ClassVar = [0]

    def __init__(self) -> None:
        self.w = torch.zeros(3)

    @property
    def getter(self) -> int:
        raise AssertionError("a getter was run")

    def fit(self, scale: float = 2.0) -> torch.Tensor:
        self.w = self.w + 1
        return self.w * scale

    def count(self) -> torch.Tensor:
        self.total.append(1)
        return torch.ones(2) * len(self.total)

    def __call__(self) -> torch.Tensor:
        return self.fit()


def has_calls() -> torch.Tensor:
    has_calls.calls += 1  # type: ignore[attr-defined]
    return torch.full((2,), float(has_calls.calls))  # type: ignore[attr-defined]


def grows() -> torch.Tensor:
    Trainer.total.append(0)
    return torch.ones(2) * len(Trainer.total)


has_calls.calls = 0  # type: ignore[attr-defined]
shared = library()
trainer = Trainer()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (Trainer().fit, "self.w"),
        (Trainer(), "self.w"),
        (lambda: trainer.fit(), "variable trainer.w"),
        (functools.partial(functools.partial(Trainer.fit, trainer), scale=3.0), "argument 0.w"),
        (Trainer().count, "variable Trainer.total"),
        (grows, "variable Trainer.total"),
        (has_calls, "variable has_calls.calls"),
        (lambda: (lambda: trainer.w.sum() + trainer.fit())(), "variable trainer.w"),
    ],
)
def test_what_a_function_reaches_is_named(function: Callable[[], Any], named: str) -> None:
    report = verify(function, runs=2)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert f"{named} had changed when run 2 began" in " ".join(str(report).split())


@pytest.mark.slow
@pytest.mark.usefixtures("thawed")
def test_what_a_function_reaches_in_a_module_is_named() -> None:
    test_what_a_function_reaches_is_named(lambda: shared.smooth() + shared.average, "variable shared.average")


def test_what_a_builtin_reaches_is_nothing() -> None:
    for function in (torch.rand, len, Trainer.fit.__get__, print):
        assert FunctionTask(function).carried() == {}


# What is done once in a process.


def warm(ready: list[int]) -> None:
    if not ready:
        ready.append(1)
        torch.rand(1)


def test_what_the_first_run_alone_does_is_done_once_and_not_intermittent() -> None:
    ready: list[int] = []
    hidden = types.SimpleNamespace(warm=functools.partial(warm, ready))

    def run() -> torch.Tensor:
        hidden.warm()
        model = nn.Linear(3, 1)
        step(torch.optim.SGD(model.parameters(), lr=0.1), model, torch.ones(2, 3))
        return model.weight

    report = verify(run, runs=4)
    assert reason_of(report) is Reason.CARRIED_OVER
    assert "only run 1 differs, and runs 2 to 4 are the same" in " ".join(str(report).split())
    assert "pass isolate=True" in str(report)
    assert "intermittent" not in " ".join(report.verdict.notes if report.verdict else [])


@pytest.mark.slow
def test_the_first_runs_alone_may_be_more_than_one() -> None:
    calls = itertools.count()
    report = verify(lambda: float(min(next(calls), 2) == 2), runs=3)
    assert reason_of(report) is Reason.CARRIED_OVER
    assert "only the first 2 runs differ, and runs 3 to 4 are the same" in " ".join(str(report).split())


def test_what_differs_at_the_end_alone_and_once_is_done_once() -> None:
    calls = itertools.count()
    report = verify(lambda: [random.random() for _ in range(next(calls) == 0)] * 0 or torch.rand(1), runs=2)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert "runs 2 to 3 are the same" in str(report)
    assert "python.random ended in another state" in " ".join(str(report).split())


@pytest.mark.slow
def test_a_setting_that_the_first_run_left_changed_is_named() -> None:
    def run() -> torch.Tensor:
        found = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return torch.ones(1, dtype=found).div(3)

    with reproducible(seed=0, deterministic=False):
        report = verify(run, runs=2, control=False)
    assert reason_of(report) is Reason.CARRIED_OVER, str(report)
    assert "left changed: torch.default_dtype.dtype)" in " ".join(str(report).split())


def test_runs_in_processes_of_their_own_do_nothing_once(tmp_path: Any) -> None:
    """Each is the first run of its process."""
    verification = Verification("draw", Alternating(), 2, tmp_path)
    report = verification.report()
    assert reason_of(report) is not Reason.CARRIED_OVER
    assert "replayed" not in str(report)  # every operation of the runs that differ was recorded
    assert "isolate=" not in str(report)
    assert "level=" not in str(report)


class Alternating:
    """Runs here what the first run alone does, and says nothing of it."""

    def __init__(self) -> None:
        self._calls = itertools.count()

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        return perform(FunctionTask(lambda: float(next(self._calls) == 0)), plan, on_step)
