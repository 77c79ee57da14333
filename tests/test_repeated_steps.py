"""A decorated function that is called again and goes on with a training: what is warned of, and what is not."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.optim import optimizer as torch_optimizer

from deterministic import compare_levels, reproducible, verify
from deterministic.errors import RepeatedDrawsWarning
from deterministic.scope.repeated_steps import RepeatedSteps


class Parts:
    """A model and its optimizer."""

    def __init__(self) -> None:
        self.model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Dropout())
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)


def steps_of(parts: Parts, optimizer: torch.optim.Optimizer | None = None, count: int = 1) -> None:
    for _ in range(count):
        parts.model(torch.rand(3, 2)).sum().backward()
        (optimizer or parts.optimizer).step()


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    with reproducible(seed=3):
        yield


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def step() -> Callable[..., None]:
    """Return a function that nobody has called yet."""
    return reproducible(seed=7)(lambda *given, **more: steps_of(*given, **more))


def test_a_decorated_step_is_warned_of_once_at_its_second_call(parts: Parts, step: Callable[..., None]) -> None:
    step(parts)
    with pytest.warns(RepeatedDrawsWarning, match="Decorate the whole training, not a part") as warned:
        step(parts)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert f" at {__file__}:" in str(warned[0].message)
    assert "  seed: 7\n" in str(warned[0].message)
    for _ in range(20):
        step(parts)


def test_so_is_one_outside_of_any_scope_and_one_with_a_new_optimizer_for_the_same_model(parts: Parts) -> None:
    @reproducible
    def train() -> None:
        steps_of(parts, torch.optim.SGD(parts.model.parameters(), 0.1))

    with pytest.warns(RepeatedDrawsWarning, match="train at"):
        [train() for _ in range(2)]


def test_a_method_is_warned_of_for_the_object_that_it_trains() -> None:
    class Trainer(Parts):
        @reproducible
        def epoch(self) -> None:
            steps_of(self, count=2)

    one, other = Trainer(), Trainer()
    one.epoch()
    other.epoch()
    with pytest.warns(RepeatedDrawsWarning, match=r"Trainer\.epoch at"):
        other.epoch()


def test_a_training_that_makes_what_it_trains_is_not_warned_of(step: Callable[..., None]) -> None:
    for _ in range(12):
        step(Parts(), count=2)


def test_what_another_thread_trains_meanwhile_is_not_warned_of(parts: Parts) -> None:
    @reproducible
    def waits() -> None:
        thread = threading.Thread(target=parts.optimizer.step)
        thread.start()
        thread.join()

    for _ in range(2):
        waits()


def test_a_training_that_is_given_what_it_trains_once_is_not_warned_of(parts: Parts, step: Callable[..., None]) -> None:
    step(parts, count=5)
    steps_of(parts)


def test_a_step_that_draws_on_is_not_warned_of(parts: Parts) -> None:
    step = reproducible(seed=None)(steps_of)
    step(parts)
    step(parts)


def test_a_step_within_a_decorated_training_is_warned_of_and_the_training_is_not(parts: Parts) -> None:
    step = reproducible(steps_of)

    @reproducible
    def train() -> None:
        own = Parts()
        for _ in range(2):
            step(own)

    with pytest.warns(RepeatedDrawsWarning, match="steps_of at") as warned:
        [train() for _ in range(3)]
    assert len(warned) == 1


def in_scopes(function: Callable[[], object]) -> None:
    for _ in range(3):
        with reproducible(seed=1):
            function()


@pytest.mark.parametrize(
    "repeat",
    [
        in_scopes,
        lambda function: verify(function, runs=3),
        lambda function: compare_levels(function, levels=(True,), runs=2),
    ],
    ids=["scopes", "verify", "compare_levels"],
)
def test_repetitions_on_purpose_are_not_warned_of(
    repeat: Callable[[Callable[[], object]], object], parts: Parts, step: Callable[..., None]
) -> None:
    repeat(lambda: step(parts))


def test_functions_that_step_nothing_are_watched_no_longer_than_their_first_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = []
    watch = RepeatedSteps.watch

    def count(self: RepeatedSteps, *given: Any) -> Any:
        watched.append(self)
        return watch(self, *given)

    monkeypatch.setattr(RepeatedSteps, "watch", count)
    function = reproducible(lambda: len(torch_optimizer._global_optimizer_post_hooks))
    assert [function() for _ in range(100)] == [1] * 10 + [0] * 90
    assert len(watched) == 10


def test_nothing_is_kept_alive_and_an_error_goes_through(step: Callable[..., None]) -> None:
    parts = Parts()
    step(parts)
    gone = weakref.ref(parts.model[0].weight)
    del parts
    assert gone() is None

    @reproducible
    def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fails()
    assert not torch_optimizer._global_optimizer_post_hooks


def test_arguments_of_any_name_are_passed_on() -> None:
    @reproducible
    def names(self: int, function: int, *, args: int) -> tuple[int, int, int]:
        return self, function, args

    assert names(self=1, function=2, args=3) == (1, 2, 3)
