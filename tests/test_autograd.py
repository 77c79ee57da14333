"""Backward passes: autograd's own threads, while they work for the owner of a scope, count as the owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from deterministic import reproducible
from deterministic.errors import ScopeConflictError

from .streams import SECONDS, Draw, draw, stream

MORE_THAN_AUTOGRAD_NESTS_ON_ONE_THREAD = 70


def draw_in_a_scope() -> Draw:
    with reproducible(seed=2):
        return draw()


@reproducible(seed=2)
def draw_decorated() -> Draw:
    return draw()


EITHER_FORM = pytest.mark.parametrize("enter", [draw_in_a_scope, draw_decorated])


def backward_through_a_hook(hook: Callable[[], object]) -> None:
    leaf = torch.ones(3, requires_grad=True)
    output = (leaf * 2).sum()
    leaf.register_hook(lambda gradient: hook() and None)
    output.backward()


class Nested(torch.autograd.Function):
    """A backward that calls backward, `depth` levels deep, and at the bottom `work`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, depth: int, work: Callable[[], object]) -> torch.Tensor:
        ctx.depth, ctx.work = depth, work
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        if ctx.depth == 0:
            ctx.work()
        else:
            with torch.enable_grad():
                leaf = torch.ones(1, requires_grad=True)
                nested(leaf, ctx.depth - 1, ctx.work).sum().backward()
        return gradients[0], None, None


nested: Any = Nested.apply  # torch leaves it untyped


def backward_on_an_autograd_thread(work: Callable[[], object]) -> None:
    """Run `work` in a backward pass so deep that autograd goes on on a thread of its own."""
    caller = threading.current_thread()

    def checked_work() -> None:
        assert threading.current_thread() is not caller
        work()

    leaf = torch.ones(1, requires_grad=True)
    nested(leaf, MORE_THAN_AUTOGRAD_NESTS_ON_ONE_THREAD, checked_work).sum().backward()


@EITHER_FORM
def test_a_hook_may_enter_a_scope_inside_the_one_around_backward(enter: Callable[[], Draw]) -> None:
    drawn: list[Draw] = []
    with reproducible(seed=1):
        before = draw()
        backward_through_a_hook(lambda: drawn.append(enter()))
        assert [before, draw()] == stream(1, 2)
    assert drawn == stream(2, 1)


def test_a_decorated_function_may_call_backward_and_its_gradients_are_those_of_plain_code() -> None:
    def train() -> list[float]:
        weight = torch.nn.Parameter(torch.ones(4))
        for _ in range(3):
            (weight * torch.rand(4)).pow(2).sum().backward()
        assert weight.grad is not None
        gradients: list[float] = weight.grad.tolist()
        return gradients

    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        expected = train()
    assert reproducible(seed=1)(train)() == expected


@EITHER_FORM
def test_one_of_autograd_s_threads_may_enter_a_scope_inside_the_owner_s(enter: Callable[[], Draw]) -> None:
    drawn: list[Draw] = []
    with reproducible(seed=1):
        before = draw()
        backward_on_an_autograd_thread(lambda: drawn.append(enter()))
        assert [before, draw()] == stream(1, 2)
    assert drawn == stream(2, 1)


def test_one_of_autograd_s_threads_may_enter_a_scope_in_a_decorated_function() -> None:
    @reproducible(seed=1)
    def train() -> list[Draw]:
        drawn = [draw()]
        backward_on_an_autograd_thread(lambda: drawn.append(draw_in_a_scope()))
        return [*drawn, draw()]

    first, inner, last = train()
    assert [first, last] == stream(1, 2)
    assert [inner] == stream(2, 1)


def test_a_scope_entered_on_autograd_s_thread_may_hold_another_backward_that_enters_one() -> None:
    drawn: list[Draw] = []

    def work() -> None:
        with reproducible(seed=3):
            drawn.append(draw())
            with torch.enable_grad():
                backward_on_an_autograd_thread(lambda: drawn.append(draw_in_a_scope()))
            drawn.append(draw())

    with reproducible(seed=1):
        backward_on_an_autograd_thread(work)
    assert drawn == [stream(3, 1)[0], stream(2, 1)[0], stream(3, 2)[1]]


def test_a_generator_may_be_resumed_on_autograd_s_thread() -> None:
    @reproducible(seed=2)
    def draws() -> Any:
        while True:
            yield draw()

    it = draws()
    drawn = [next(it)]
    with reproducible(seed=1):
        backward_on_an_autograd_thread(lambda: drawn.append(next(it)))
        assert [draw()] == stream(1, 1)
    drawn.append(next(it))
    assert drawn == stream(2, 3)


def test_a_backward_of_another_thread_is_not_the_owner_s() -> None:
    # Both are in a backward pass, but this one is not waiting for that one's result.
    with reproducible(seed=1), ThreadPoolExecutor(1) as pool:
        other = pool.submit(backward_through_a_hook, draw_in_a_scope)
        with pytest.raises(ScopeConflictError):
            other.result(SECONDS)
        assert [draw()] == stream(1, 1)


def test_a_backward_of_another_thread_is_not_the_owner_s_even_while_the_owner_is_in_one() -> None:
    refused: list[bool] = []

    def other_thread_tries() -> None:
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(backward_through_a_hook, draw_in_a_scope)
            refused.append(isinstance(other.exception(SECONDS), ScopeConflictError))

    with reproducible(seed=1):
        backward_through_a_hook(other_thread_tries)
        assert [draw()] == stream(1, 1)
    assert refused == [True]


def test_a_backward_of_another_thread_is_not_the_owner_s_even_while_the_owner_waits_for_its_own() -> None:
    refused: list[bool] = []

    def other_thread_tries() -> None:  # on a thread of autograd's, while the owner waits in backward()
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(backward_through_a_hook, draw_in_a_scope)
            refused.append(isinstance(other.exception(SECONDS), ScopeConflictError))

    with reproducible(seed=1):
        backward_on_an_autograd_thread(other_thread_tries)
    assert refused == [True]


def test_a_thread_that_does_no_backward_is_refused_while_the_owner_waits_for_its_own() -> None:
    refused: list[bool] = []

    def other_thread_tries() -> None:  # on a thread of autograd's, while the owner waits in backward()
        with ThreadPoolExecutor(1) as pool:
            refused.append(isinstance(pool.submit(draw_in_a_scope).exception(SECONDS), ScopeConflictError))

    with reproducible(seed=1):
        backward_on_an_autograd_thread(other_thread_tries)
    assert refused == [True]


def test_a_hook_that_unpacks_a_saved_tensor_may_enter_a_scope() -> None:
    drawn: list[Draw] = []

    def unpack(saved: torch.Tensor) -> torch.Tensor:
        drawn.append(draw_decorated())
        return saved

    with reproducible(seed=1):
        leaf = torch.ones(3, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            output = leaf.sin().sum()
        output.backward()
        assert [draw()] == stream(1, 1)
    assert drawn == stream(2, 1)
