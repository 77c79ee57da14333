"""Decorated generators: the whole protocol, and a stream of their own however their steps interleave."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch

from deterministic import reproducible

from .streams import Draw, draw, draws, no_scope_is_open, stream


def test_two_generators_and_their_caller_interleave_each_with_its_own_stream() -> None:
    first, second = draws(), reproducible(seed=2)(draws.__wrapped__)()  # type: ignore[attr-defined]
    drawn: dict[str, list[Draw]] = {"first": [], "second": [], "caller": []}
    with reproducible(seed=3):
        for turn in ["first", "second", "caller", "second", "first", "first", "caller", "second", "caller"]:
            drawn[turn].append(draw() if turn == "caller" else next(first if turn == "first" else second))
    assert drawn == {"first": stream(1, 3), "second": stream(2, 3), "caller": stream(3, 3)}


def test_between_its_steps_nothing_of_the_scope_is_left() -> None:
    it = draws()
    for _ in range(3):
        next(it)
        assert no_scope_is_open()


def test_what_a_body_sets_comes_back_with_it() -> None:
    @reproducible(seed=1, num_threads=1)
    def settings() -> Generator[tuple[object, ...], None, None]:
        torch.set_default_dtype(torch.float64)
        while True:
            yield torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    threads = torch.get_num_threads()
    it = settings()
    for _ in range(3):
        assert next(it) == (torch.float64, 1, True)
        assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float32, threads)
    it.close()


def test_a_generator_may_begin_inside_a_scope_and_end_after_it_and_the_reverse() -> None:
    outlives, it = draws(), draws()
    begun_outside = [next(it)]
    with reproducible(seed=3):
        mine = [draw()]
        drawn = [next(outlives)]
        begun_outside.append(next(it))
        mine.append(draw())
    assert no_scope_is_open()
    drawn.append(next(outlives))
    begun_outside.append(next(it))
    assert (mine, drawn, begun_outside) == (stream(3, 2), stream(1, 2), stream(1, 3))


def test_a_body_that_yields_inside_an_inner_scope_is_put_aside_whole() -> None:
    @reproducible(seed=1)
    def nested() -> Iterator[Draw]:
        yield draw()
        with reproducible(seed=2):
            yield draw()
            with reproducible(seed=3):
                yield draw()
                yield draw()
            yield draw()
        yield draw()

    first, second = nested(), nested()
    drawn: tuple[list[Draw], list[Draw]] = [], []
    for one, other in zip(first, second, strict=True):
        assert no_scope_is_open()
        drawn[0].append(one)
        drawn[1].append(other)
    (a, d), (b, e), c = stream(1, 2), stream(2, 2), stream(3, 2)
    assert drawn[0] == drawn[1] == [a, b, *c, e, d]


def test_a_body_may_iterate_and_delegate_to_other_decorated_generators() -> None:
    @reproducible(seed=2)
    def outer() -> Generator[Draw, None, None]:
        yield draw()
        inner = draws()
        yield next(inner)
        yield draw()
        yield next(inner)
        yield from (next(inner) for _ in range(1))
        yield draw()

    mine, theirs = stream(2, 3), stream(1, 3)
    assert list(outer()) == [mine[0], theirs[0], mine[1], theirs[1], theirs[2], mine[2]]


def test_a_generator_may_call_itself() -> None:
    @reproducible(seed=1)
    def tree(depth: int) -> Generator[Draw, None, None]:
        yield draw()
        if depth:
            yield from tree(depth - 1)
        yield draw()

    first, last = stream(1, 2)
    assert list(tree(2)) == [first] * 3 + [last] * 3


def test_values_are_sent_in_and_the_return_value_comes_out() -> None:
    @reproducible(seed=1)
    def echo() -> Generator[tuple[str | None, Draw], str | None, str]:
        sent = yield None, draw()
        while sent is not None:
            sent = yield sent, draw()
        return "result"

    def delegate() -> Generator[tuple[str | None, Draw], str | None, str]:
        return "delegated " + (yield from echo())

    for make, result in ((echo, "result"), (delegate, "delegated result")):
        it = make()
        assert [next(it), it.send("a"), it.send("b")] == list(zip([None, "a", "b"], stream(1, 3), strict=True))
        with pytest.raises(StopIteration) as stopped:
            it.send(None)
        assert stopped.value.value == result
        with pytest.raises(StopIteration) as stopped:
            next(it)
        assert stopped.value.value is None
        assert no_scope_is_open()


def test_a_value_sent_before_the_first_step_is_refused_as_without_the_decorator() -> None:
    it: Generator[Any, Any, Any] = draws()
    with pytest.raises(TypeError, match="just-started"):
        it.send("too early")
    assert next(it) == stream(1, 1)[0]


def test_exceptions_are_thrown_into_the_body_as_themselves() -> None:
    caught: list[BaseException] = []

    @reproducible(seed=1)
    def survives() -> Generator[Draw, None, str]:
        while True:
            try:
                yield draw()
            except ValueError as error:
                caught.append(error)
            except LookupError as error:
                return str(error)

    it = survives()
    error = ValueError("survived")
    assert [next(it), it.throw(error), next(it)] == stream(1, 3)
    assert caught == [error]
    with pytest.raises(StopIteration) as stopped:
        it.throw(LookupError("returned"))
    assert stopped.value.value == "returned"
    assert no_scope_is_open()


def test_an_exception_that_the_body_lets_through_comes_out_as_itself() -> None:
    cleaned_up: list[Draw] = []
    it = draws(cleaned_up)
    next(it)
    error = KeyError("mine")
    with pytest.raises(KeyError) as raised:
        it.throw(error)
    assert raised.value is error
    assert error.__context__ is None
    assert "yield draw()" in [frame.line for frame in traceback.extract_tb(error.__traceback__)]
    assert cleaned_up == stream(1, 2)[1:]
    assert list(it) == []


def test_an_exception_thrown_before_the_first_step_opens_nothing() -> None:
    it = draws()
    with pytest.raises(KeyError):
        it.throw(KeyError("early"))
    assert list(it) == []


def test_a_stop_iteration_raised_by_the_body_is_an_error_as_without_the_decorator() -> None:
    @reproducible(seed=1)
    def wrong() -> Generator[Draw, None, None]:
        yield next(iter(()))

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        next(wrong())
    assert no_scope_is_open()


def test_wrong_arguments_raise_at_the_call_and_the_driver_has_the_name_of_the_body() -> None:
    wrong: Any = draws
    with pytest.raises(TypeError):
        wrong(1, 2, 3)
    it = draws()
    assert inspect.isgenerator(it)
    assert (it.__name__, it.__qualname__) == ("draws", "draws")
    assert "draws" in repr(it)


def test_a_decorated_generator_makes_a_context_manager() -> None:
    @contextlib.contextmanager
    @reproducible(seed=1)
    def manager() -> Generator[Draw, None, None]:
        yield draw()
        cleaned_up.append(draw())

    cleaned_up: list[Draw] = []
    with reproducible(seed=3), manager() as drawn:
        assert [draw()] == stream(3, 1)
    assert [drawn, *cleaned_up] == stream(1, 2)
