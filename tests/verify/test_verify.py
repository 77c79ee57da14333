"""`verify` and `assert_reproducible` in one process: what they compare, what they say, what they refuse."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deterministic import assert_reproducible, current_run, make_loader, reproducible, verify
from deterministic.errors import DeterministicError, NotReproducibleError
from deterministic.trace.comparing.reasons import Reason
from tests.trace.models import Transformer, train
from tests.verify.repeated import counted, reason_of, step


def fails_under_a_mode() -> float:
    if torch._C._len_torch_dispatch_stack():
        raise LookupError("not with a mode\nnor with two")
    return float(np.random.default_rng().random())


def test_a_training_is_bit_exact() -> None:
    report = verify(lambda: train(Transformer(), 3))
    assert report
    assert (report.outcome, report.exit_code, report.runs, report.steps) == ("same", 0, 3, 3)
    assert str(report).startswith("bit-exact: 3 runs of ")


@pytest.mark.slow
def test_what_is_returned_is_compared() -> None:
    report = verify(counted(lambda number: {"accuracy": [0.5, 0.25 + number]}))
    assert report.outcome == "different"
    assert reason_of(report) is Reason.NUMBER
    assert "returned" in str(report)
    assert ".25 in the first run" in str(report)


@pytest.mark.slow
def test_what_is_observed_is_compared() -> None:
    def run(number: int) -> None:
        current_run().observe("score", float(number))

    report = verify(counted(run))
    assert report.outcome == "different"
    assert "observed score" in str(report)


def test_the_states_of_the_generators_at_the_end_are_compared() -> None:
    def run(number: int) -> torch.Tensor:
        for _ in range(number):
            random.random()
        return torch.rand(2)

    report = verify(counted(run))
    assert report.outcome == "different"
    assert reason_of(report) is Reason.GENERATOR
    assert "python.random" in str(report)
    assert "torch.cpu" not in str(report)


@pytest.mark.slow
def test_an_optimizer_s_options_are_compared() -> None:
    def run(number: int) -> None:
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step(optimizer, model, torch.ones(1, 2))
        optimizer.param_groups[0]["lr"] = 0.1 + number
        step(optimizer, model, torch.zeros(1, 2))

    assert verify(counted(run)).outcome == "different"


@pytest.mark.slow
def test_the_batches_of_a_loader_are_compared() -> None:
    def run(number: int) -> None:
        for _ in make_loader([float(index + number) for index in range(8)], batch_size=4):
            pass

    report = verify(counted(run))
    assert report.outcome == "different"
    assert reason_of(report) is Reason.OUTSIDE
    assert "test_verify.py" in str(report)


@pytest.mark.slow
def test_several_optimizers_are_told_apart() -> None:
    def run(number: int) -> None:
        generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
        of_generator = torch.optim.Adam(generator.parameters())
        of_critic = torch.optim.SGD(critic.parameters(), lr=0.1)
        for index in range(3):
            noise = torch.randn(4, 2)
            step(of_critic, critic, generator(noise).detach())
            of_generator.zero_grad()
            scale = 1.0 + number * (index == 2)
            (critic(generator(noise)) * scale).sum().backward()
            of_generator.step()

    report = verify(counted(run))
    assert report.steps == 6
    assert report.verdict is not None
    assert report.verdict.comparison is not None
    divergence = report.verdict.comparison.divergence
    assert divergence is not None
    assert divergence.step == (1, 2, 0)
    assert divergence.segment == 5
    assert reason_of(report) is Reason.NUMBER


def test_a_seed_inside_the_function_wins_and_is_told() -> None:
    def run() -> torch.Tensor:
        torch.manual_seed(7)
        return torch.rand(2)

    report = verify(run)
    assert report
    assert "The code seeds torch itself, with 7" in str(report)


def test_the_enclosing_scope_s_seed_is_taken() -> None:
    drawn = []
    with reproducible(seed=5):
        verify(lambda: drawn.append(torch.initial_seed()) or torch.rand(1), runs=2)  # type: ignore[func-returns-value]
    assert drawn == [5, 5]


def test_a_scope_may_be_given() -> None:
    seeds = []

    def run() -> torch.Tensor:
        seeds.append((torch.initial_seed(), torch.are_deterministic_algorithms_enabled()))
        return torch.rand(1)

    assert verify(run, runs=2, control=reproducible(seed=9, deterministic=False))
    assert seeds == [(9, False), (9, False)]


@pytest.mark.slow
def test_without_control_the_runs_are_as_they_are() -> None:
    with reproducible(seed=0, deterministic=False):
        report = verify(lambda: torch.rand(2), control=False)
    assert report.outcome == "different"
    assert reason_of(report) is Reason.GENERATOR
    assert "default cpu" in str(report)


def test_without_control_what_is_seeded_by_hand_is_bit_exact() -> None:
    with reproducible(seed=0, deterministic=False):
        report = verify(lambda: torch.rand(2, generator=torch.Generator().manual_seed(1)), control=False)
    assert report.outcome == "same", str(report)


@pytest.mark.parametrize("function", [lambda: None, lambda: torch.rand(2).sum() and None])
def test_nothing_to_compare_cannot_be_told(function: Callable[[], Any]) -> None:
    report = verify(function)
    assert (bool(report), report.outcome, report.exit_code) == (False, "could not tell", 2)
    assert "nothing was recorded that could be compared" in str(report)


def test_work_in_a_child_process_was_not_seen() -> None:
    pytest.importorskip("resource")

    def run() -> int:
        return subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True).returncode

    report = verify(run, runs=2)
    assert report.outcome == "could not tell"
    assert "Child processes did" in str(report)


def test_work_in_a_child_process_that_comes_back_is_compared() -> None:
    def run() -> float:
        text = subprocess.run([sys.executable, "-c", "print(sum(range(10**7)))"], check=True, capture_output=True)
        return float(text.stdout)

    assert verify(run, runs=2).outcome == "same"


def test_an_exception_in_the_first_run_is_the_caller_s() -> None:
    def run() -> None:
        raise KeyError("no such dataset")

    with pytest.raises(KeyError, match="no such dataset"):
        verify(run)


def test_an_exception_in_a_later_run_is_a_difference() -> None:
    def run(number: int) -> torch.Tensor:
        x = torch.ones(2)
        if number:
            raise ValueError("only now")
        return x

    report = verify(counted(run))
    assert report.outcome == "different"
    assert "ended with a ValueError" in str(report)


@pytest.mark.slow
def test_what_does_not_differ_again_is_told_as_such() -> None:
    def run(number: int) -> torch.Tensor:
        return torch.ones(2) * (2.0 if number == 1 else 1.0)

    report = verify(counted(run))
    assert report.outcome == "different"
    assert reason_of(report) is Reason.UNKNOWN
    assert "did not differ again" in str(report)


@pytest.mark.slow
@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.usefixtures("warm_pythons")
def test_a_replay_that_failed_is_told_as_such_with_what_it_raised(
    isolate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    report = verify(fails_under_a_mode, runs=2, isolate=isolate, control=False)
    assert report.outcome == "different"
    assert report.verdict is not None
    assert [note for note in report.verdict.notes if "failed" in note] == [
        f"run {number} failed when it was replayed with every operation recorded: LookupError: not with a mode. Step "
        "and value are its own."
        for number in (1, 2)
    ]
    assert "intermittent" not in str(report)


@pytest.mark.slow
def test_generators_and_coroutines_are_run_to_their_end() -> None:
    def yields() -> Iterator[float]:
        for _ in range(3):
            yield torch.rand(1).item()

    async def awaits() -> float:
        await asyncio.sleep(0)
        return torch.rand(1).item()

    assert verify(yields, runs=2)
    assert verify(awaits, runs=2)
    assert verify(counted(lambda number: (float(number) for _ in range(2)))).outcome == "different"


def test_arguments_are_passed_on() -> None:
    assert verify(lambda x, *, y: torch.tensor(x + y), 1.5, y=2.0, runs=2)


def test_everything_is_given_back_after_each_run() -> None:
    hooks = torch.nn.modules.module._global_forward_hooks
    before = dict(hooks)
    verify(counted(lambda number: np.random.rand() + number))
    with pytest.raises(ZeroDivisionError):
        verify(lambda: 1 // 0)
    assert dict(hooks) == before  # and the canary watches the rest


def test_assert_reproducible_says_nothing_of_what_is() -> None:
    assert_reproducible(lambda: torch.rand(2), runs=2)


@pytest.mark.slow
def test_assert_reproducible_raises_the_verdict() -> None:
    with pytest.raises(NotReproducibleError, match="a Python number differed"):
        assert_reproducible(counted(lambda number: torch.ones(2) * float(number)))
    with pytest.raises(DeterministicError, match="nothing was recorded") as raised:
        assert_reproducible(lambda: None)
    assert not isinstance(raised.value, NotReproducibleError)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"runs": 1}, ValueError, "nothing to be compared with"),
        ({"runs": True}, TypeError, "runs is not an integer"),
        ({"runs": 2.0}, TypeError, "runs is not an integer"),
        ({"control": 42}, TypeError, "neither a truth value nor a scope"),
        ({"timeout": 3}, ValueError, "processes of their own"),
        ({"timeout": 0, "isolate": True}, ValueError, "positive number"),
    ],
)
def test_what_has_no_meaning_is_refused_before_anything_runs(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    calls: list[int] = []
    with pytest.raises(error, match=text):
        verify(lambda: calls.append(1), **arguments)
    assert calls == []


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="Pass the function itself"):
        verify(torch.ones(2))  # type: ignore[arg-type]


@pytest.mark.slow
def test_no_process_and_no_file_is_left_behind(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    verify(counted(lambda number: torch.ones(2) * float(number)))
    assert os.listdir(tmp_path) == []


def test_a_rank_of_several_verifies_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert verify(lambda: torch.rand(2), runs=2)
