"""Ctrl-C at every instant of entering and leaving: it arrives, once, and leaves nothing open and nothing changed."""

from __future__ import annotations

import dis
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
import torch

import deterministic
from deterministic import _interrupt, _snapshot, _stack, reproducible
from deterministic.errors import DeterministicError, ScopeConflictError
from deterministic.sources import SOURCES

from .conftest import what_changed

SECONDS = 10
LIBRARY = os.path.dirname(deterministic.__file__) + os.sep
SOURCE_FILES = (os.path.join(LIBRARY, "sources"), os.path.join(LIBRARY, "_snapshot.py"))
# What drives a body may be cut in two, but only where CPython looks for signals: where a function begins or goes on,
# and where it jumps back.
DRIVERS = {"call", "_drive", "_close"}

Tracer = Callable[[FrameType, str, Any], Any]


class Keyboard:
    """Sends SIGINT, is the user's own handler of it, and counts both; it raises only while a program runs."""

    def __init__(self) -> None:
        self.sent = self.arrived = 0
        self.raises = False

    def send(self) -> None:
        self.sent += 1
        signal.raise_signal(signal.SIGINT)

    def handle(self, signum: int, frame: FrameType | None) -> None:
        self.arrived += 1
        if self.raises:
            self.raises = False
            raise KeyboardInterrupt

    def settle(self) -> None:
        """Wait until all that was sent has arrived."""
        deadline = time.monotonic() + SECONDS
        while self.arrived < self.sent:
            assert time.monotonic() < deadline, "an interrupt was lost"
            time.sleep(0.0001)


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    keyboard = Keyboard()
    before = signal.signal(signal.SIGINT, keyboard.handle)
    yield keyboard
    signal.signal(signal.SIGINT, before)


scope = reproducible(1, deterministic="warn")


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


def in_structure(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(LIBRARY) and not name.startswith(SOURCE_FILES)


def in_sources(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(SOURCE_FILES)


def is_instant(frame: FrameType, event: str) -> bool:
    if event == "call" or frame.f_code.co_name not in DRIVERS:
        return event in ("call", "opcode")
    return event == "opcode" and dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("JUMP")


def interrupt_at(instant: int, keyboard: Keyboard, wanted: Callable[[FrameType], bool]) -> Tracer:
    """Return a tracer that sends SIGINT at that instant, counted in bytecodes of the `wanted` frames."""
    left = instant

    def trace(frame: FrameType, event: str, argument: Any) -> Tracer | None:
        nonlocal left
        if not wanted(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if is_instant(frame, event):
            left -= 1
            if left < 0:
                sys.settrace(None)
                keyboard.send()
        return trace

    return trace


def run(program: Callable[[Keyboard], None], keyboard: Keyboard, begin: Callable[[], object]) -> list[str]:
    """Run `program` with whatever `begin` sets up to interrupt it; return what is not as it was, and clean up."""
    before, tracer, dirt = _snapshot.capture(SOURCES), sys.gettrace(), []
    try:
        keyboard.raises = True
        begin()
        program(keyboard)
        sys.settrace(tracer)
        keyboard.settle()
    except KeyboardInterrupt:
        pass
    except DeterministicError as error:
        dirt.append(f"raised: {error!r}")
    finally:
        sys.settrace(tracer)
        keyboard.raises = False
    dirt += [f"open: {entry.site}" for entry in _stack._entries]
    dirt += [f"changed: {name}" for name in what_changed(before)]
    if signal.getsignal(signal.SIGINT) != keyboard.handle:
        dirt.append("the handler")
    if keyboard.arrived != keyboard.sent:
        dirt.append(f"{keyboard.arrived} of {keyboard.sent} arrived")
    if dirt:
        _stack.transition.after_fork_in_child()
        _stack._entries.clear()
        _snapshot.restore(before)
        signal.signal(signal.SIGINT, keyboard.handle)
    return dirt


def interrupt_everywhere(
    program: Callable[[Keyboard], None],
    keyboard: Keyboard,
    wanted: Callable[[FrameType], bool] = in_structure,
    *,
    step: int = 1,
) -> tuple[int, dict[int, list[str]]]:
    """Interrupt at each `step`th instant, until the program ends before; return how many there were, and the dirty."""
    run(program, keyboard, lambda: None)
    dirty: dict[int, list[str]] = {}
    instant = 0
    while True:
        keyboard.sent = keyboard.arrived = 0
        dirt = run(program, keyboard, lambda: sys.settrace(interrupt_at(instant, keyboard, wanted)))
        if not keyboard.sent:
            return instant // step, dirty
        if dirt:
            dirty[instant] = dirt
        instant += step


@pytest.mark.parametrize(
    ("program", "at_least"),
    [(with_block, 300), (nested_blocks, 800), (decorated_call, 300), (decorated_steps, 1000), (start_and_stop, 300)],
)
def test_an_interrupt_at_any_instant_arrives_once_and_leaves_everything_as_it_was(
    program: Callable[[Keyboard], None], at_least: int, keyboard: Keyboard
) -> None:
    instants, dirty = interrupt_everywhere(program, keyboard)
    assert not dirty
    assert instants >= at_least


@pytest.mark.parametrize("program", [with_block, decorated_steps, start_and_stop])
def test_an_interrupt_while_a_source_is_saved_set_or_restored_leaves_everything_as_it_was(
    program: Callable[[Keyboard], None], keyboard: Keyboard
) -> None:
    instants, dirty = interrupt_everywhere(program, keyboard, in_sources, step=37)
    assert not dirty
    assert instants >= 50


def test_without_the_handler_the_same_interrupts_leave_scopes_open_and_settings_changed(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_interrupt, "install", lambda: None)
    _, dirty = interrupt_everywhere(with_block, keyboard, step=3)
    found = {dirt.partition(":")[0] for dirts in dirty.values() for dirt in dirts}
    assert found == {"open", "changed"}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
@pytest.mark.parametrize("program", [with_block, nested_blocks, decorated_call, decorated_steps])
def test_an_interrupt_at_a_random_moment_arrives_once_and_leaves_everything_as_it_was(
    program: Callable[[Keyboard], None], keyboard: Keyboard
) -> None:
    moments = random.Random(0)
    rang = False

    def ring(signum: int, frame: FrameType | None) -> None:
        nonlocal rang
        rang = True
        keyboard.send()

    def until_it_rings(keyboard: Keyboard) -> None:
        while not rang:
            program(keyboard)

    before = signal.signal(signal.SIGALRM, ring)
    dirty = []
    try:
        for _ in range(300):
            rang = False
            dirty += run(
                until_it_rings,
                keyboard,
                lambda: signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.00001, 0.002)),
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not dirty
    assert keyboard.arrived == 300
