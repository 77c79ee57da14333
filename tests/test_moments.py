"""Who comes in the middle of a transition: signal handlers are refused, finalisers are postponed and never raise."""

from __future__ import annotations

import gc
import random
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import torch

from deterministic import reproducible
from deterministic.errors import ScopeConflictError

from .streams import Draw, draw, stream


class Intruder(random.Random):
    """A user's generator that lets somebody in whenever a scope captures, seeds or restores it."""

    def __init__(self) -> None:
        self.at: dict[str, Callable[[], object]] = {}
        super().__init__(0)

    def _let_in(self, moment: str) -> None:
        callback = self.at.pop(moment, None)
        if callback is not None:
            callback()

    def getstate(self) -> tuple[Any, ...]:
        self._let_in("capture")
        return super().getstate()

    def seed(self, *arguments: Any) -> None:
        self._let_in("apply")
        super().seed(*arguments)

    def setstate(self, state: tuple[Any, ...]) -> None:
        self._let_in("restore")
        super().setstate(state)


def enter_once() -> None:
    with reproducible(seed=9):
        draw()


@reproducible(seed=9)
def call_once() -> None:
    draw()


@contextmanager
def handler(handle: Callable[[], object]) -> Iterator[None]:
    """Run `handle` on SIGUSR1."""

    def on_signal(signum: int, frame: FrameType | None) -> None:
        handle()

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


MOMENTS = pytest.mark.parametrize("moment", ["capture", "apply", "restore"])


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
@MOMENTS
@pytest.mark.parametrize("enter", [enter_once, call_once])
def test_a_signal_handler_that_enters_in_the_middle_of_a_transition_is_refused(
    enter: Callable[[], None], moment: str
) -> None:
    refused: list[ScopeConflictError] = []

    def try_to_enter() -> None:
        try:
            enter()
        except ScopeConflictError as error:
            refused.append(error)

    intruder = Intruder()
    with handler(try_to_enter):
        intruder.at[moment] = lambda: signal.raise_signal(signal.SIGUSR1)
        with reproducible(seed=1, generators=[intruder]):
            assert [draw(), draw()] == stream(1, 2)
    assert len(refused) == 1
    assert "a scope cannot be entered or left here" in str(refused[0])


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_signal_handler_that_enters_inside_the_block_is_welcome() -> None:
    drawn: list[Draw] = []

    def enter() -> None:
        with reproducible(seed=2):
            drawn.append(draw())

    with handler(enter), reproducible(seed=1):
        first = draw()
        signal.raise_signal(signal.SIGUSR1)
        assert [first, draw()] == stream(1, 2)
    assert drawn == stream(2, 1)


@MOMENTS
def test_a_finaliser_that_enters_in_the_middle_of_a_transition_is_refused(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_value))

    class EntersWhenDropped:
        def __del__(self) -> None:
            enter_once()

    victims = [EntersWhenDropped()]
    intruder = Intruder()
    intruder.at[moment] = victims.clear
    with reproducible(seed=1, generators=[intruder]):
        assert [draw()] == stream(1, 1)
    assert [type(error) for error in raised] == [ScopeConflictError]


@reproducible(seed=7)
def draws(cleaned_up: list[Draw]) -> Generator[Draw, None, None]:
    try:
        while True:
            yield draw()
    finally:
        cleaned_up.append(draw())


@MOMENTS
def test_a_generator_dropped_in_the_middle_of_a_transition_cleans_up_afterwards_in_its_own_scope(moment: str) -> None:
    cleaned_up: list[Draw] = []
    seen_at_the_moment: list[int] = []
    it = draws(cleaned_up)
    next(it)
    victims = [it]
    del it

    def drop() -> None:
        victims.clear()
        seen_at_the_moment.append(len(cleaned_up))

    intruder = Intruder()
    intruder.at[moment] = drop
    with reproducible(seed=1, generators=[intruder]):
        assert [draw(), draw()] == stream(1, 2)
    assert seen_at_the_moment == [0]
    assert cleaned_up == stream(7, 2)[1:]


def test_nothing_is_collected_in_the_middle_of_a_transition() -> None:
    assert gc.isenabled()
    enabled: list[bool] = []
    intruder = Intruder()
    for moment in ("capture", "apply", "restore"):
        intruder.at[moment] = lambda: enabled.append(gc.isenabled())
    with reproducible(seed=1, generators=[intruder]):
        assert gc.isenabled()
    assert enabled == [False] * len(enabled) != []
    assert gc.isenabled()


@MOMENTS
def test_a_postponed_clean_up_that_raises_is_reported_and_never_disturbs_the_scope(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_value))

    @reproducible(seed=7)
    def cannot_clean_up() -> Generator[None, None, None]:
        try:
            yield
        finally:
            raise OSError("the disk is full")

    it = cannot_clean_up()
    next(it)
    victims = [it]
    del it
    intruder = Intruder()
    intruder.at[moment] = victims.clear
    with reproducible(seed=1, generators=[intruder]):
        assert [draw()] == stream(1, 1)
    assert not torch.are_deterministic_algorithms_enabled()
    assert [str(error) for error in raised] == ["the disk is full"]


def test_an_interrupt_handler_that_was_chained_inside_a_scope_runs_once() -> None:
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda signum, frame: interrupts.append(signum))
    try:
        with reproducible(seed=1):
            outer: Any = signal.getsignal(signal.SIGINT)

            def chained(signum: int, frame: FrameType | None) -> None:
                interrupts.append(-signum)
                outer(signum, frame)

            signal.signal(signal.SIGINT, chained)
            with reproducible(seed=2):  # puts its own handler in front again
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert interrupts == [-signal.SIGINT, signal.SIGINT] * 2
    finally:
        signal.signal(signal.SIGINT, before)
