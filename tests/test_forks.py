"""A forked child adopts the scopes that were open, and nothing that it does reaches the parent."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import threading
import traceback
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest
import torch

from deterministic import current_run, reproducible
from deterministic.errors import DeterministicError, ScopeConflictError

from .streams import SECONDS, Draw, draw, in_thread, no_scope_is_open, stream

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

T = TypeVar("T")

FORKS = 20


def in_child(function: Callable[[], T]) -> T:
    """Fork, run `function` in the child, and return what it returned there."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(SECONDS)  # a dead lock ends here
            with open(writer, "wb") as file:
                pickle.dump(function(), file)
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may get from the child into the suite
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0
    result: T = pickle.loads(answer)
    return result


def without_python(drawn: list[Draw]) -> list[tuple[float, float]]:
    return [(numpy, cpu) for _, numpy, cpu in drawn]


def enter_and_leave() -> list[Draw]:
    with reproducible(seed=2):
        return [draw(), draw()]


def test_a_child_goes_on_with_the_scope_it_inherited_and_may_nest() -> None:
    def child() -> tuple[int | None, list[Draw], list[Draw]]:
        inner = enter_and_leave()
        return current_run().seed, inner, [draw(), draw()]

    with reproducible(seed=1):
        first = draw()
        seed, inner, drawn = in_child(child)
        assert (seed, inner) == (1, stream(2, 2))
        assert without_python([first, *drawn]) == without_python(stream(1, 3))
        assert [first, draw(), draw()] == stream(1, 3)


def test_python_s_own_generator_too_goes_on_in_a_child() -> None:
    # Python reseeds it from the system in every forked child (Lib/random.py); inside a scope that is a silent no.
    with reproducible(seed=1):
        first = random.random()
        drawn = in_child(random.random)
        assert [first, drawn] == [python for python, _, _ in stream(1, 2)]


def test_a_child_that_leaves_the_scope_it_inherited_is_where_the_parent_was_before_it() -> None:
    before = torch.get_rng_state().tolist()
    scopes = contextlib.ExitStack()

    def child() -> tuple[bool, list[int]]:
        scopes.close()
        return no_scope_is_open(), torch.get_rng_state().tolist()

    with scopes:
        scopes.enter_context(reproducible(seed=1))
        first = draw()
        assert in_child(child) == (True, before)
        assert torch.are_deterministic_algorithms_enabled()
        assert [first, draw()] == stream(1, 2)


def test_a_child_of_a_helper_thread_may_enter_though_the_main_thread_held_a_scope() -> None:
    with reproducible(seed=1):
        assert in_thread(lambda: in_child(enter_and_leave)) == stream(2, 2)
        assert [draw()] == stream(1, 1)


def test_a_child_of_a_helper_thread_may_enter_while_the_main_thread_is_in_a_decorated_function() -> None:
    @reproducible(seed=1)
    def parent() -> list[Draw]:
        assert in_thread(lambda: in_child(enter_and_leave)) == stream(2, 2)
        return [draw()]

    assert parent() == stream(1, 1)


def test_a_suspended_generator_goes_on_in_the_child_and_in_the_parent() -> None:
    @reproducible(seed=1)
    def draws() -> Generator[Draw, None, None]:
        with reproducible(seed=2):
            while True:
                yield draw()

    it = draws()
    first = next(it)
    assert [first, *in_child(lambda: [next(it), next(it)])] == stream(2, 3)
    assert [first, next(it), next(it)] == stream(2, 3)
    it.close()


def test_the_threads_of_a_child_stand_to_the_scope_it_inherited_as_those_of_the_parent() -> None:
    scopes = contextlib.ExitStack()

    def child() -> tuple[bool, list[Draw]]:
        with pytest.raises(ScopeConflictError):
            in_thread(enter_and_leave)
        scopes.close()
        return no_scope_is_open(), in_thread(enter_and_leave)

    with scopes:
        scopes.enter_context(reproducible(seed=1))
        assert in_child(child) == (True, stream(2, 2))


def test_a_fork_in_the_middle_of_another_thread_s_transition_finds_the_stack_whole() -> None:
    stop = threading.Event()

    def enter_all_the_time() -> None:
        while not stop.is_set():
            with reproducible(seed=1, on_conflict="wait"):
                pass

    def child() -> tuple[list[Draw], bool]:
        # Inside the other thread's scope or outside of it, and nothing in between.
        try:
            inside = current_run().seed == 1
        except DeterministicError:
            inside = False
        return enter_and_leave(), inside == torch.are_deterministic_algorithms_enabled()

    thread = threading.Thread(target=enter_all_the_time)
    thread.start()
    try:
        outcomes = [in_child(child) for _ in range(FORKS)]
    finally:
        stop.set()
        thread.join()
    assert outcomes == [(stream(2, 2), True)] * FORKS
