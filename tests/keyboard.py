"""Interrupts a program at one instant after another, and says what that has left behind."""

from __future__ import annotations

import dis
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from math import inf
from types import FrameType
from typing import Any

import deterministic
from deterministic.errors import DeterministicError
from deterministic.ground import snapshot
from deterministic.scope import stack
from deterministic.sources import SOURCES

from .conftest import what_changed

SECONDS = 10
LIBRARY = os.path.dirname(deterministic.__file__) + os.sep
SOURCE_FILES = (LIBRARY + "sources", LIBRARY + "snapshot.py")
# What drives a body may be cut in two, but only where CPython looks for signals: where a function begins or goes on,
# where it jumps back, and after a call (which test_interrupt.py tries by itself).
DRIVERS = {"call", "_drive", "_close"}
JUMPS_BACK = {"JUMP_BACKWARD", "JUMP_ABSOLUTE"}

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


Program = Callable[[Keyboard], None]


def in_structure(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(LIBRARY) and not name.startswith(SOURCE_FILES)


def in_sources(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(SOURCE_FILES)


def is_instant(frame: FrameType, event: str) -> bool:
    if event == "call" or frame.f_code.co_name not in DRIVERS:
        return event in ("call", "opcode")
    return event == "opcode" and dis.opname[frame.f_code.co_code[frame.f_lasti]] in JUMPS_BACK


def interrupt_at(instant: float, keyboard: Keyboard, wanted: Callable[[FrameType], bool]) -> Tracer:
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


def run(program: Program, keyboard: Keyboard, begin: Callable[[], object] = lambda: None) -> list[str]:
    """Run `program`, which `begin` has interrupted; return what is not as it was before, after mending that."""
    before, tracer = snapshot.capture(SOURCES), sys.gettrace()
    dirt = []
    try:
        sys.settrace(None)  # coverage's, whose lock an interrupt inside of it would leave locked
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
    lock: Any = stack.transition.lock
    dirt += ["not collecting"] * (not gc.isenabled())
    dirt += ["locked"] * (stack.transition.is_mine() or lock._is_owned())
    dirt += [f"open: {entry.site}" for entry in stack._entries]
    dirt += [f"changed: {name}" for name in what_changed(before)]
    dirt += ["another handler"] * (signal.getsignal(signal.SIGINT) != keyboard.handle)
    dirt += [f"arrived: {keyboard.arrived} of {keyboard.sent}"] * (keyboard.arrived != keyboard.sent)
    if dirt:
        gc.enable()
        stack.transition.after_fork_in_child()
        stack._entries.clear()
        snapshot.restore(before)
        signal.signal(signal.SIGINT, keyboard.handle)
    return dirt


def interrupt_everywhere(
    program: Program, keyboard: Keyboard, wanted: Callable[[FrameType], bool] = in_structure, *, every: int = 1
) -> tuple[int, dict[int, list[str]]]:
    """Run `program` with an interrupt at the first instant, then at the next, and so on to its end.

    Returns:
        How many instants there were, and what was left behind by those that left anything.
    """
    run(program, keyboard)  # what is done once in a process is done now
    dirty: dict[int, list[str]] = {}
    instant = 0
    while True:
        keyboard.sent = keyboard.arrived = 0
        dirt = run(program, keyboard, partial(_interrupt_program, program, instant, keyboard, wanted))
        if dirt:
            dirty[instant] = dirt
        if not keyboard.sent:
            return instant // every, dirty
        instant += every


def _interrupt_program(program: Program, instant: int, keyboard: Keyboard, wanted: Callable[[FrameType], bool]) -> None:
    if sys.version_info >= (3, 12):
        # There a function that was just called without a tracer shows none of its bytecodes the next time.
        sys.settrace(interrupt_at(inf, keyboard, wanted))
        program(keyboard)
    sys.settrace(interrupt_at(instant, keyboard, wanted))
