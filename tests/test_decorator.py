"""Decorated functions of every kind: to `inspect` themselves, and each call starts from the seed."""

from __future__ import annotations

import asyncio
import functools
import inspect
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
import torch

from deterministic import current_run, reproducible

from .streams import Draw, draw, no_scope_is_open, stream


@reproducible(seed=1)
def function(count: int, /, *, label: str = "default") -> list[Draw]:
    """Draw `count` times."""
    return [draw() for _ in range(count)]


@reproducible(seed=1)
def generator(count: int) -> Generator[Draw, None, str]:
    """Draw `count` times."""
    for _ in range(count):
        yield draw()
    return "done"


@reproducible(seed=1)
async def coroutine(count: int) -> list[Draw]:
    """Draw `count` times."""
    drawn = []
    for _ in range(count):
        drawn.append(draw())
        await asyncio.sleep(0)
    return drawn


@reproducible(seed=1)
async def async_generator(count: int) -> AsyncGenerator[Draw, None]:
    """Draw `count` times."""
    for _ in range(count):
        yield draw()


KINDS = {
    "function": (function, ()),
    "generator": (generator, (inspect.isgeneratorfunction,)),
    "coroutine": (coroutine, (inspect.iscoroutinefunction,)),
    "async_generator": (async_generator, (inspect.isasyncgenfunction,)),
}
QUESTIONS = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


@pytest.mark.parametrize("name", KINDS)
def test_inspect_sees_the_function_itself(name: str) -> None:
    decorated: Any
    decorated, yes = KINDS[name]
    plain = decorated.__wrapped__
    assert inspect.isfunction(decorated)
    assert {question for question in QUESTIONS if question(decorated)} == set(yes)
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert inspect.getfullargspec(decorated) == inspect.getfullargspec(plain)
    assert inspect.unwrap(decorated) is plain
    assert inspect.getsource(decorated) == inspect.getsource(plain)
    assert (decorated.__name__, decorated.__qualname__, decorated.__module__) == (name, name, __name__)
    assert decorated.__doc__ == "Draw `count` times."
    assert decorated.__annotations__ == plain.__annotations__
    assert callable(decorated)


def test_every_call_starts_from_the_seed() -> None:
    assert [function(2), function(3)] == [stream(1, 2), stream(1, 3)]
    assert [list(generator(2)), list(generator(3))] == [stream(1, 2), stream(1, 3)]
    assert [asyncio.run(coroutine(2)), asyncio.run(coroutine(3))] == [stream(1, 2), stream(1, 3)]


def test_without_arguments_the_decorator_seeds_with_42() -> None:
    bare = reproducible(draw)
    called = reproducible()(draw)
    assert [bare(), called()] == stream(42, 1) * 2


def test_without_a_seed_of_its_own_a_function_takes_the_enclosing_scope_s() -> None:
    @reproducible
    def inner() -> list[Draw]:
        return [draw()]

    @reproducible
    def steps() -> Generator[Draw, None, None]:
        while True:
            yield draw()

    with reproducible(seed=7):
        assert inner() == stream(7, 1)
        it = steps()
        drawn = [next(it)]
    drawn.append(next(it))
    it.close()
    assert drawn == stream(7, 2)


def test_a_decorated_function_may_call_itself() -> None:
    @reproducible(seed=1)
    def recurse(depth: int) -> list[Draw]:
        return [draw(), *(recurse(depth - 1) if depth else []), draw()]

    first, last = stream(1, 2)
    assert recurse(3) == [first] * 4 + [last] * 4


def test_one_scope_may_decorate_several_functions_and_be_a_block_meanwhile() -> None:
    scope = reproducible(seed=1)
    outer = scope(lambda inner: [draw(), *inner(), draw()])
    inner = scope(lambda: [draw()])
    with scope:
        first, last = draw(), stream(1, 2)[1]
        assert outer(inner) == [first, first, last]
        assert draw() == last


def test_decorated_twice_the_inner_seed_wins_and_everything_is_given_back() -> None:
    assert reproducible(seed=2)(function)(2) == stream(1, 2)
    assert list(reproducible(seed=2)(generator)(2)) == stream(1, 2)
    assert asyncio.run(reproducible(seed=2)(coroutine)(2)) == stream(1, 2)
    assert no_scope_is_open()


def test_the_run_of_the_call_is_the_current_run() -> None:
    @reproducible(seed=1, deterministic=False)
    def inside() -> tuple[int | None, object, bool]:
        return current_run().seed, current_run().deterministic, torch.are_deterministic_algorithms_enabled()

    assert inside() == (1, False, False)


def test_arguments_and_results_pass_through_as_they_are() -> None:
    marker = object()

    @reproducible(seed=1)
    def identity(*args: object, **kwargs: object) -> tuple[object, object]:
        return args, kwargs

    assert identity(marker, wrapped=1, instance=2, self=3, args=4, kwargs=5) == (
        (marker,),
        {"wrapped": 1, "instance": 2, "self": 3, "args": 4, "kwargs": 5},
    )


def test_an_exception_leaves_as_itself_with_its_traceback_and_ends_the_scope() -> None:
    cause, error = ValueError("cause"), KeyError("mine")

    @reproducible(seed=1)
    def fails() -> None:
        raise error from cause

    with pytest.raises(KeyError) as raised:
        fails()
    assert raised.value is error
    assert error.__cause__ is cause
    assert not hasattr(error, "__notes__")
    assert traceback.extract_tb(error.__traceback__)[-1].line == "raise error from cause"
    assert no_scope_is_open()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_is_raised_ends_the_scope(error: BaseException) -> None:
    @reproducible(seed=1)
    def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        fails()
    assert no_scope_is_open()


def test_a_disabled_decorator_returns_the_function_itself() -> None:
    def plain() -> None: ...

    assert reproducible(seed=1, enabled=False)(plain) is plain


def test_tools_that_wrap_functions_work_above_the_decorator() -> None:
    cached = functools.lru_cache(function)
    assert cached(2) is cached(2)
    assert functools.partial(function, 2)() == stream(1, 2)
    copied: Callable[..., Any] = functools.wraps(function)(lambda *args: function(*args))
    assert copied(1) == stream(1, 1)
    assert copied.__name__ == "function"


def test_attributes_set_on_a_decorated_function_are_there() -> None:
    @reproducible(seed=1)
    def plain() -> None: ...

    target: Any = plain
    target.mark = "set"
    assert target.mark == target.__wrapped__.mark == "set"
