"""The lock of the stack: one transition at a time in the process, and never one inside another."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence

from ..errors import ScopeConflictError
from ..trace.recording.seeding import HOLDERS, watch
from . import interrupt
from .entry import ScopeEntry

_RECHECK_SECONDS = 0.5


class _Finaliser:
    """Calls when it is dropped. Whoever drops it does not get what the call raises: `sys.unraisablehook` does."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def __del__(self) -> None:
        self._callback()


class Transition:
    """A context manager around each operation on the stack of entries.

    When the main thread has nothing on it, SIGINT goes back to its former handler.
    """

    def __init__(self, stack: Sequence[ScopeEntry]) -> None:
        self._stack = stack
        HOLDERS.append(stack)
        self.lock = threading.RLock()
        self._ended = threading.Condition(self.lock)
        self._thread: int | None = None
        self._collects = False
        self._waiting = 0
        self._postponed: list[_Finaliser] = []
        self._until_idle: list[_Finaliser] = []

    def __enter__(self) -> None:
        if self.is_mine():
            raise ScopeConflictError(
                "a scope cannot be entered or left here",
                ("found: a signal handler or a finaliser that runs while another scope is being entered or left",),
                "Set a flag there, and enter the scope from the code that it interrupts.",
            )
        self.lock.acquire()
        self._thread = threading.get_ident()
        # A collection in between would run finalisers, which may draw, between one source and the next.
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *exception: object) -> None:
        # Asked while nobody can cut in and leave. One who was refused has put the handler in place for nothing.
        has_left = not self._is_main_inside()
        watch()
        if self._collects:
            gc.enable()
        self._thread = None
        if self._waiting:
            self._ended.notify_all()
        self.lock.release()
        while self._postponed:
            self._postponed.pop()
        while self._until_idle and not self._stack:
            self._until_idle.pop()
        if has_left:  # last of all: from here on an interrupt is raised at once
            interrupt.uninstall()

    def _is_main_inside(self) -> bool:
        main, stack = threading.main_thread(), self._stack
        # First the innermost entry, which is nearly always its own: every transition ends here.
        return bool(stack) and (stack[-1].owner.thread is main or any(entry.owner.thread is main for entry in stack))

    def is_mine(self) -> bool:
        """Return whether this thread is in a transition: seen from a signal handler or a finaliser that cuts in."""
        return self._thread == threading.get_ident()

    def postpone(self, callback: Callable[[], object]) -> None:
        """Run `callback` once the transition of this thread is over; its errors go where a finaliser's go."""
        self._postponed.append(_Finaliser(callback))

    def postpone_until_idle(self, callback: Callable[[], object]) -> None:
        """Run `callback` once no scope is open, on whichever thread closes the last one."""
        self._until_idle.append(_Finaliser(callback))

    @interrupt.waiting
    def wait(self) -> None:
        """Give way, inside a transition, until another one has ended."""
        self._thread = None
        if self._collects:
            gc.enable()
        self._waiting += 1
        try:
            # With a time-out, because a thread that dies with its scope open notifies nobody.
            self._ended.wait(timeout=_RECHECK_SECONDS)
        finally:
            self._waiting -= 1
            self._thread = threading.get_ident()
            self._collects = gc.isenabled()
            gc.disable()

    def after_fork_in_child(self) -> None:
        """Begin anew: the threads that could hold the lock do not exist here."""
        self.lock = threading.RLock()
        self._ended = threading.Condition(self.lock)
        self._thread = None
        self._waiting = 0
