"""A suspended body meets another thread: resumed there, refused there, closed there."""

from __future__ import annotations

import logging
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from deterministic import reproducible
from deterministic.errors import ScopeConflictError

from .streams import SECONDS, Draw, draw, draws, in_thread, line_above, stream


@reproducible(seed=1)
def draws_in_an_inner_scope() -> Generator[Draw, None, None]:
    with reproducible(seed=2):
        while True:
            yield draw()


def test_a_generator_may_be_resumed_on_another_thread_and_goes_on_with_its_stream() -> None:
    it = draws()
    drawn = [next(it), in_thread(lambda: next(it)), next(it), in_thread(lambda: next(it))]
    assert drawn == stream(1, 4)


def test_a_generator_suspended_in_an_inner_scope_may_be_resumed_on_another_thread() -> None:
    it = draws_in_an_inner_scope()
    drawn = [next(it), in_thread(lambda: next(it)), next(it)]
    in_thread(it.close)
    assert drawn == stream(2, 3)


def test_a_generator_leaves_the_thread_s_own_settings_on_each_thread_that_resumes_it() -> None:
    it = draws()
    next(it)

    def resume_with_own_settings() -> tuple[torch.device, bool]:
        torch.set_default_device("meta")
        try:
            with torch.autocast("cpu", torch.bfloat16):
                next(it)
                return torch.get_default_device(), torch.is_autocast_enabled("cpu")
        finally:
            torch.set_default_device(None)

    assert in_thread(resume_with_own_settings) == (torch.device("meta"), True)
    assert torch.get_default_device() == torch.device("cpu")
    next(it)


def test_a_generator_resumed_while_another_thread_has_a_scope_open_is_refused() -> None:
    it = draws()
    next(it)
    with reproducible(seed=5):
        line = line_above()
        with pytest.raises(ScopeConflictError) as refused:
            in_thread(lambda: next(it))
        assert line in str(refused.value)
        assert [draw()] == stream(5, 1)


def test_a_generator_that_was_refused_ends_and_is_closed_in_its_own_scope_once_the_other_has_left() -> None:
    cleaned_up: list[Draw] = []

    @reproducible(seed=1)
    def drawer() -> Generator[Draw, None, None]:
        try:
            while True:
                yield draw()
        finally:
            cleaned_up.append(draw())

    it = drawer()
    next(it)
    with reproducible(seed=5):
        with pytest.raises(ScopeConflictError):
            in_thread(lambda: next(it))
        assert cleaned_up == []
        assert [draw()] == stream(5, 1)
    assert cleaned_up == stream(1, 2)[1:]
    assert list(it) == []


def test_a_generator_that_was_refused_its_first_step_never_begins() -> None:
    it = draws()
    with reproducible(seed=5), pytest.raises(ScopeConflictError):
        in_thread(lambda: next(it))
    assert list(it) == []


def test_what_is_sent_with_a_refused_step_never_reaches_the_body() -> None:
    received: list[str] = []

    @reproducible(seed=1)
    def echo() -> Generator[None, str, None]:
        while True:
            received.append((yield))

    it = echo()
    next(it)
    with reproducible(seed=5), pytest.raises(ScopeConflictError):
        in_thread(lambda: it.send("refused"))
    assert received == []


def test_a_generator_that_waits_goes_on_when_the_other_thread_has_left() -> None:
    @reproducible(seed=1, on_conflict="wait")
    def waiting() -> Generator[Draw, None, None]:
        while True:
            yield draw()

    it = waiting()
    drawn = [next(it)]
    with ThreadPoolExecutor(1) as pool:
        with reproducible(seed=5):
            resumed = pool.submit(lambda: next(it))
            assert [draw()] == stream(5, 1)
        drawn.append(resumed.result(SECONDS))
    assert drawn == stream(1, 2)


def test_a_generator_closed_on_another_thread_cleans_up_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []
    it = draws(cleaned_up)
    next(it)
    in_thread(it.close)
    assert cleaned_up == stream(1, 2)[1:]


def test_a_generator_closed_while_another_thread_has_a_scope_open_cleans_up_in_its_own_afterwards_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cleaned_up: list[Draw] = []
    it = draws(cleaned_up)
    next(it)
    with reproducible(seed=5):
        line = line_above()
        with caplog.at_level(logging.WARNING, "deterministic"):
            in_thread(it.close)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "will be closed once no scope is open" in record.getMessage()
    assert line in record.getMessage()
    assert cleaned_up == stream(1, 2)[1:]
    assert list(it) == []


def test_a_generator_with_an_inner_scope_closed_while_another_thread_has_a_scope_open_leaves_that_one_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = draws_in_an_inner_scope()
    next(it)
    with reproducible(seed=5):
        drawn = [draw()]
        in_thread(it.close)
        drawn.append(draw())
        assert torch.are_deterministic_algorithms_enabled()
    assert drawn == stream(5, 2)
    assert "will be closed once no scope is open" in caplog.text


def test_a_generator_dropped_by_another_thread_while_a_scope_is_open_raises_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = draws()
    next(it)
    last = [it]
    del it
    with reproducible(seed=5):
        in_thread(last.clear)
        assert [draw()] == stream(5, 1)
    assert "will be closed once no scope is open" in caplog.text
