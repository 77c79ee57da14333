"""Scopes that are closed in another order than the reverse of their opening, or by another object's hand."""

from __future__ import annotations

import random
import warnings
from collections.abc import Generator
from contextlib import ExitStack
from itertools import permutations

import numpy as np
import pytest
import torch

from deterministic import reproducible
from deterministic.errors import ScopeOrderWarning
from deterministic.ground import snapshot
from deterministic.scope import stack
from deterministic.sources import SOURCES

from .conftest import what_changed
from .streams import draw, line_above, stream

SECONDS = 30

Block = Generator[str, None, None]


def block(seed: int, **options: object) -> Block:
    """Open a scope in a frame of its own; yield the line."""
    scope = reproducible(seed, **options)  # type: ignore[call-overload]
    with scope:
        yield line_above()


def close(opened: Block) -> None:
    assert next(opened, None) is None


def level() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def test_a_scope_closed_under_another_warns_with_both_lines_and_changes_nothing_yet() -> None:
    before = snapshot.capture(SOURCES)

    def outer() -> Block:
        with reproducible(1, deterministic="warn"):
            yield line_above()

    def inner() -> Block:
        with reproducible(2):
            yield line_above()

    first, second = outer(), inner()
    lines = next(first), next(second)
    assert draw() == stream(2, 1)[0]
    inside = snapshot.capture(SOURCES)
    with pytest.warns(ScopeOrderWarning) as warned:
        close(first)
    (warning,) = warned
    closed, still_open = str(warning.message).partition("still open")[::2]
    assert lines[0] in closed
    assert lines[1] in still_open
    assert warning.filename == __file__
    assert not what_changed(inside)
    assert draw() == stream(2, 2)[1]
    close(second)
    assert not what_changed(before)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_whatever_the_order_the_last_one_to_close_gives_everything_back(order: tuple[int, ...]) -> None:
    before = snapshot.capture(SOURCES)
    levels = (True, "warn", False, "cudnn")
    opened = [block(seed, deterministic=level, num_threads=seed + 1) for seed, level in enumerate(levels)]
    for each in opened:
        next(each)
        draw()
    out_of_order = sum(any(other > one for other in order[place:]) for place, one in enumerate(order))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for place in order:
            close(opened[place])
    assert [warning.category for warning in caught] == [ScopeOrderWarning] * out_of_order
    assert not what_changed(before)


def test_what_a_scope_saved_is_handed_up_also_where_the_one_above_does_not_cover_it() -> None:
    generators = [torch.Generator().manual_seed(place) for place in range(2)]
    before = [generator.get_state() for generator in generators]
    outer, inner = block(1, generators=generators), block(2, generators=generators[1:])
    next(outer)
    next(inner)
    torch.rand(3, generator=generators[0])
    inside = generators[0].get_state()
    with pytest.warns(ScopeOrderWarning):
        close(outer)
    assert torch.equal(generators[0].get_state(), inside)
    close(inner)
    assert all(torch.equal(one.get_state(), state) for one, state in zip(generators, before, strict=True))


def test_two_generators_of_the_user_are_each_given_back_by_the_scope_that_names_them() -> None:
    mine, yours = random.Random(1), np.random.default_rng(1)
    with reproducible(1, generators=[mine, yours]):
        first = mine.random(), yours.random()
        with reproducible(2, generators=[yours]):
            inside = mine.random(), yours.random()
        assert inside[1] != first[1]
        after = mine.random(), yours.random()
    with reproducible(1, generators=[mine, yours]):
        again = [(mine.random(), yours.random()) for _ in range(3)]
    assert [first, (inside[0], after[1])] == [again[0], (again[1][0], again[1][1])]
    assert after[0] == again[2][0]
    assert (mine.random(), yours.random()) == (random.Random(1).random(), np.random.default_rng(1).random())


def test_an_opt_out_closed_after_its_scope_gives_back_what_was_before_that_scope() -> None:
    before = snapshot.capture(SOURCES)
    scope = reproducible(1)
    run = scope.start()
    opt_out = run.allow_nondeterministic()
    opt_out.__enter__()
    with pytest.warns(ScopeOrderWarning):
        scope.stop()
    assert level() == (False, False)
    assert draw() == stream(1, 1)[0]
    opt_out.__exit__(None, None, None)
    assert not what_changed(before)


def test_with_warnings_as_errors_the_scope_has_left_all_the_same() -> None:
    before = snapshot.capture(SOURCES)
    outer, inner = block(1), block(2)
    next(outer)
    next(inner)
    with pytest.raises(ScopeOrderWarning):
        next(outer)
    assert len(stack._entries) == 1
    assert not stack.transition.is_mine()
    assert draw() == stream(2, 1)[0]
    close(inner)
    assert not what_changed(before)


def test_generators_that_share_one_object_each_close_their_own_entry() -> None:
    shared = reproducible(7)

    def one() -> Block:
        with shared:
            yield line_above()

    def other() -> Block:
        with shared:
            yield line_above()

    first, second = one(), other()
    lines = next(first), next(second)
    draws = [draw(), draw()]
    with pytest.warns(ScopeOrderWarning) as warned:
        close(first)
    text = str(warned[0].message)
    assert text.index(lines[0]) < text.index(lines[1])
    assert [*draws, draw()] == stream(7, 3)
    close(second)
    assert not stack._entries


def test_a_function_that_enters_one_object_at_every_depth_unwinds_it() -> None:
    scope = reproducible(7)

    def recurse(depth: int) -> None:
        with scope:
            first = draw()
            if depth:
                recurse(depth - 1)
            assert [first, draw()] == stream(7, 2)

    recurse(5)


def test_an_exit_stack_closes_one_object_as_often_as_it_entered_it() -> None:
    before, scope = snapshot.capture(SOURCES), reproducible(7)
    with ExitStack() as exits:
        for _ in range(3):
            exits.enter_context(scope)
        assert len(stack._entries) == 3
        kept = exits.pop_all()
    assert len(stack._entries) == 3
    kept.close()
    assert not what_changed(before)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), StopIteration()]
)
def test_an_exception_leaves_as_itself_and_everything_is_given_back(error: BaseException) -> None:
    before = snapshot.capture(SOURCES)
    with pytest.raises(type(error)) as raised, reproducible(1), reproducible(2):
        raise error
    assert raised.value is error
    assert not what_changed(before)


def test_a_block_closed_while_the_body_around_it_is_suspended_is_gone_when_that_wakes() -> None:
    inside: list[Block] = []

    @reproducible(1, deterministic="warn")
    def body() -> Generator[object, None, None]:
        first = draw()
        inside.append(block(2))
        next(inside[0])
        yield draw()
        yield [first, draw()], level()

    steps, before = body(), snapshot.capture(SOURCES)
    assert next(steps) == stream(2, 1)[0]
    close(inside.pop())
    assert not what_changed(before)
    assert next(steps) == (stream(1, 2), (True, True))
    steps.close()
    assert not what_changed(before)


def test_a_body_that_ends_with_a_block_of_its_own_open_hands_its_state_to_that() -> None:
    inside: list[Block] = []

    @reproducible(1)
    def body() -> None:
        inside.append(block(2))
        next(inside[0])

    before = snapshot.capture(SOURCES)
    with pytest.warns(ScopeOrderWarning):
        body()
    assert draw() == stream(2, 1)[0]
    close(inside.pop())
    assert not what_changed(before)


def test_a_block_that_another_frame_closes_is_closed_and_not_the_decorated_call_of_that_object() -> None:
    scope = reproducible(1)

    @scope
    def close_the_block() -> None:
        scope.__exit__(None, None, None)

    scope.__enter__()
    with pytest.warns(ScopeOrderWarning, match="a scope was closed before one that was opened inside it"):
        close_the_block()
    assert not stack._entries
