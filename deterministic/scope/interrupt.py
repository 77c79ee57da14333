"""SIGINT, held back while the main thread is inside a piece of code that must not be cut in two.

A KeyboardInterrupt is raised between two bytecodes, also on the first one of an `__exit__`, before any `try`. So
while a scope is open on the main thread, or another piece of code is protected there, SIGINT goes through a handler
that looks at the frames it interrupted: inside one of `INDIVISIBLE` it sends itself the signal again a millisecond
later, until the code is through; anywhere else the handler that was there before runs.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal.signal() converts to enums: 5 us instead of 0.4
import _thread
import signal
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeVar, cast

INDIVISIBLE: set[CodeType] = set()
WAITING: set[CodeType] = set()
"""Code that waits for another thread: interruptible, also when called from indivisible code."""

_RETRY_SECONDS = 0.001

F = TypeVar("F", bound=Callable[..., Any])


def indivisible(function: F) -> F:
    """Mark a function that SIGINT must not cut in two."""
    INDIVISIBLE.add(cast(FunctionType, function).__code__)
    return function


def waiting(function: F) -> F:
    """Mark a function that SIGINT may leave wherever it is called from."""
    WAITING.add(cast(FunctionType, function).__code__)
    return function


class _Handler:
    """The handler while it is needed: one object per installation, so that handlers can be chained in any order."""

    def __init__(self, previous: Callable[[int, FrameType | None], Any]) -> None:
        self.previous = previous

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if _must_wait(frame):
            _thread.start_new_thread(_send_again, ())
        else:
            self.previous(signum, frame)


class _Protected(threading.local):
    """Per thread, since a child that another thread forks is in the middle of nothing that the main thread began."""

    pieces = 0


_protected = _Protected()


def protect() -> None:
    """Put the handler in place for a piece of code that is no scope, and keep it there until `unprotect`.

    Pieces nest, and scopes may be closed inside one: the handler stays until the outermost one is over.
    """
    install()
    _protected.pieces += 1  # now: an interrupt that came before the handler was in place has left no count behind


def unprotect() -> None:
    """End what `protect` began. The caller, who knows whether a scope is open, takes the handler away."""
    _protected.pieces -= 1


def install() -> None:
    """Put the handler in place. Does nothing off the main thread, or where SIGINT is ignored or kills the process."""
    if threading.current_thread() is not threading.main_thread():
        return
    current = _signal.getsignal(_signal.SIGINT)
    if isinstance(current, _Handler) or not callable(current):
        return
    try:
        _signal.signal(_signal.SIGINT, _Handler(current))
    except ValueError:  # a sub-interpreter's main thread is not the one that gets signals
        return


def uninstall() -> None:
    """Put back what was there before, unless it still protects a piece of code, or the user has replaced it since."""
    if threading.current_thread() is threading.main_thread() and not _protected.pieces:
        current = _signal.getsignal(_signal.SIGINT)
        if isinstance(current, _Handler):
            _signal.signal(_signal.SIGINT, current.previous)


def _must_wait(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in WAITING:
            return False
        if frame.f_code in INDIVISIBLE:
            return True
        frame = frame.f_back
    return False


def _send_again() -> None:
    time.sleep(_RETRY_SECONDS)
    main = threading.main_thread()
    if not main.is_alive():
        return
    if hasattr(signal, "pthread_kill") and main.ident is not None:
        # Unlike interrupt_main, a real signal also ends a blocking system call.
        signal.pthread_kill(main.ident, signal.SIGINT)
    else:
        _thread.interrupt_main(signal.SIGINT)
