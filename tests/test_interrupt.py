"""Ctrl-C at every instant of entering and leaving: it arrives, once, and leaves nothing open and nothing changed."""

from __future__ import annotations

import ctypes
import gc
import random
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import FrameType

import pytest
import torch

from deterministic import reproducible
from deterministic.data.samples.isolation import Isolated
from deterministic.scope import interrupt, stack, wrap

from .keyboard import SECONDS, Keyboard, Program, in_sources, interrupt_at, interrupt_everywhere, run

scope = reproducible(1, deterministic="warn")


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    keyboard = Keyboard()
    before = signal.signal(signal.SIGINT, keyboard.handle)
    yield keyboard
    signal.signal(signal.SIGINT, before)


def with_block(keyboard: Keyboard) -> None:
    with scope:
        torch.rand(1)
        keyboard.settle()
    keyboard.settle()


def nested_blocks(keyboard: Keyboard) -> None:
    with suppress(ValueError), scope:
        with scope as run, run.allow_nondeterministic():
            keyboard.settle()
        keyboard.settle()
        raise ValueError
    keyboard.settle()


@scope
def decorated(keyboard: Keyboard) -> None:
    keyboard.settle()


def decorated_call(keyboard: Keyboard) -> None:
    decorated(keyboard)
    keyboard.settle()


@scope
def decorated_generator(keyboard: Keyboard) -> Generator[None, None, None]:
    keyboard.settle()
    with reproducible(2):
        yield
        keyboard.settle()
        yield


def decorated_steps(keyboard: Keyboard) -> None:
    steps = decorated_generator(keyboard)
    try:
        next(steps)
        keyboard.settle()
        next(steps)
        keyboard.settle()
    finally:
        steps.close()
    keyboard.settle()


def start_and_stop(keyboard: Keyboard) -> None:
    scope.start()
    try:
        keyboard.settle()
    finally:
        scope.stop()
    keyboard.settle()


def isolation_in_another(keyboard: Keyboard) -> None:
    with Isolated():
        torch.rand(1)
        with Isolated():
            torch.rand(1)
        keyboard.settle()
    keyboard.settle()


def scope_in_an_isolation(keyboard: Keyboard) -> None:
    with Isolated():
        torch.rand(1)
        with scope:
            keyboard.settle()
    keyboard.settle()


@pytest.mark.parametrize(
    ("program", "every", "at_least"),
    [
        (isolation_in_another, 1, 300),
        (scope_in_an_isolation, 3, 200),
        (with_block, 1, 500),
        (decorated_call, 1, 450),
        (start_and_stop, 1, 500),
        (nested_blocks, 5, 250),
        (decorated_steps, 4, 600),
    ],
)
def test_an_interrupt_at_any_instant_arrives_once_and_leaves_everything_as_it_was(
    program: Program, every: int, at_least: int, keyboard: Keyboard
) -> None:
    instants, dirty = interrupt_everywhere(program, keyboard, every=every)
    assert not dirty
    assert instants >= at_least


@pytest.mark.parametrize("program", [with_block, decorated_steps, start_and_stop])
def test_an_interrupt_while_a_source_is_saved_set_or_restored_leaves_everything_as_it_was(
    program: Program, keyboard: Keyboard
) -> None:
    instants, dirty = interrupt_everywhere(program, keyboard, in_sources, every=97)
    assert not dirty
    assert instants >= 20


# The interrupts also cut finalisers in two, whose exceptions Python only reports.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_the_handler_the_same_interrupts_leave_scopes_open_and_settings_changed(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "install", lambda: None)
    _, dirty = interrupt_everywhere(with_block, keyboard, every=3)
    found = {dirt.partition(":")[0] for dirts in dirty.values() for dirt in dirts}
    assert found >= {"open", "changed", "locked"}


@pytest.fixture
def no_callbacks_of_the_collector() -> Iterator[None]:
    """Take away those of other packages (Hypothesis has one): Python code, in which an interrupt is lost."""
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = callbacks


@pytest.mark.usefixtures("no_callbacks_of_the_collector")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python itself may skip an __exit__ there: bpo-29988")
@pytest.mark.parametrize("program", [with_block, nested_blocks, decorated_call, decorated_steps])
def test_an_interrupt_at_a_random_moment_arrives_once_and_leaves_everything_as_it_was(
    program: Program, keyboard: Keyboard
) -> None:
    moments, dirty, rang = random.Random(0), [], False

    def ring(signum: int, frame: FrameType | None) -> None:
        nonlocal rang
        rang = True
        keyboard.send()

    def until_it_rings(keyboard: Keyboard) -> None:
        while not rang:
            program(keyboard)

    def set_alarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.00001, 0.002))

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(300):
            rang = False
            dirty += run(until_it_rings, keyboard, set_alarm)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not dirty
    assert keyboard.arrived == 300


def test_an_interrupt_that_is_held_back_arrives_once(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    find = stack.find

    def find_interrupted(request: object, frame: int) -> object:
        keyboard.send()
        assert keyboard.arrived == 0
        return find(request, frame)

    monkeypatch.setattr(stack, "find", find_interrupted)
    with reproducible(1):
        pass
    keyboard.settle()
    time.sleep(0.02)
    assert keyboard.arrived == 1


def test_an_interrupt_in_the_body_arrives_at_once(keyboard: Keyboard) -> None:
    reached = False
    keyboard.raises = True
    with suppress(KeyboardInterrupt), reproducible(1):
        keyboard.send()
        reached = True
    assert keyboard.arrived == 1
    assert not reached
    assert signal.getsignal(signal.SIGINT) == keyboard.handle


def test_an_interrupt_as_a_body_yields_is_raised_there_and_closes_what_it_had_open(keyboard: Keyboard) -> None:
    closed_inside = []

    @scope
    def body() -> Generator[None, None, None]:
        try:
            with reproducible(2):
                # Comes before the interpreter looks again, which is when the body has yielded.
                yield from iter(ctypes.pythonapi.PyErr_SetInterrupt, object())
        finally:
            closed_inside.append(torch.are_deterministic_algorithms_enabled())

    keyboard.raises = True
    with pytest.raises(KeyboardInterrupt):
        next(body())
    assert keyboard.arrived == 1
    assert not torch.are_deterministic_algorithms_enabled()
    assert closed_inside == [True]


@pytest.mark.usefixtures("no_callbacks_of_the_collector")
def test_an_interrupt_while_an_abandoned_body_is_collected_is_raised(keyboard: Keyboard) -> None:
    gc.collect()
    steps = decorated_generator(keyboard)
    next(steps)
    # One Ctrl-C cuts off the driver's cleanup, so that nobody closes the body any more.
    sys.settrace(interrupt_at(0, keyboard, lambda frame: frame.f_code is wrap._close.__code__))
    keyboard.raises = True
    with suppress(KeyboardInterrupt):
        steps.close()
    assert keyboard.arrived == 1
    assert [part.entries[0].request for part in stack._suspended] == [scope]
    keyboard.raises = True
    with pytest.raises(KeyboardInterrupt):
        # The next one comes before the collection, and before the interpreter looks for it.
        list(map(partial.__call__, (partial(ctypes.pythonapi.PyErr_SetInterrupt), partial(gc.collect))))
    assert keyboard.arrived == 2
    assert not list(stack._suspended)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_a_wait_for_another_thread_can_be_interrupted(keyboard: Keyboard) -> None:
    holds, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with reproducible(1):
            holds.set()
            assert go_on.wait(SECONDS)

    def interrupt() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(hold)]
        assert holds.wait(SECONDS)
        began, keyboard.raises = time.monotonic(), True
        jobs.append(pool.submit(interrupt))
        entered = False
        with suppress(KeyboardInterrupt), reproducible(2, on_conflict="wait"):
            keyboard.raises, entered = False, True
        assert not entered
        assert keyboard.arrived == 1
        assert time.monotonic() - began < SECONDS / 2
        assert len(stack._entries) == 1
        go_on.set()
        with reproducible(2, on_conflict="wait"):
            pass
    assert signal.getsignal(signal.SIGINT) == keyboard.handle
