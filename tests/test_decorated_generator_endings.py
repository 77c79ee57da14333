"""How a decorated generator ends: closed, dropped, collected; always in its own scope."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from deterministic import reproducible

from .streams import Draw, draw, draws, no_scope_is_open, stream


def test_closing_cleans_up_in_the_body_s_own_scope() -> None:
    cleaned_up: list[Draw] = []
    it = draws(cleaned_up)
    next(it)
    with reproducible(seed=3):
        mine = [draw()]
        it.close()
        mine.append(draw())
    it.close()
    assert (cleaned_up, mine) == (stream(1, 2)[1:], stream(3, 2))
    assert list(it) == []


def test_a_body_dropped_half_way_cleans_up_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []
    for _ in draws(cleaned_up):
        break
    assert cleaned_up == stream(1, 2)[1:]


class Holder:
    """Holds its own generator, as objects that iterate do: a reference cycle."""

    def __init__(self, cleaned_up: list[Draw]) -> None:
        self.cleaned_up = cleaned_up
        self.iterator = self.draws()

    @reproducible(seed=1)
    def draws(self) -> Generator[Draw, None, None]:
        try:
            while True:
                yield draw()
        finally:
            self.cleaned_up.append(draw())


@pytest.mark.parametrize("collections_before", [0, 1, 3])
def test_a_body_dropped_with_the_object_that_holds_it_cleans_up_in_its_own_scope(collections_before: int) -> None:
    cleaned_up: list[Draw] = []
    holder = Holder(cleaned_up)
    next(holder.iterator)
    for _ in range(collections_before):  # the age of an object decides when it is collected
        gc.collect()
    del holder
    gc.collect()
    assert cleaned_up == stream(1, 2)[1:]


def test_a_generator_that_never_began_is_dropped_without_a_trace() -> None:
    cleaned_up: list[Draw] = []
    draws(cleaned_up).close()
    draws(cleaned_up)
    assert cleaned_up == []


def test_a_body_that_ignores_its_closing_is_an_error_as_without_the_decorator() -> None:
    @reproducible(seed=1)
    def stubborn() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            yield 2

    it = stubborn()
    next(it)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        it.close()
    assert no_scope_is_open()


def test_a_body_that_returns_when_closed_is_closed() -> None:
    @reproducible(seed=1)
    def gives_up() -> Generator[int, None, str]:
        try:
            yield 1
        except GeneratorExit:
            return "result"
        return "never"

    it = gives_up()
    next(it)
    it.close()
    assert no_scope_is_open()
