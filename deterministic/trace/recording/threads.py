"""What other Python threads write while a trace is recorded: a dispatch mode sees the thread alone that entered it."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

from ...values.value import is_plain
from .operations import Operation, tensors_in
from .places import Places
from .storages import THREAD, Storages
from .torch_internals import DispatchMode, current_node


def works_for(thread: int) -> bool:
    """Return whether the running thread is this one, or one of autograd's on its behalf."""
    own = threading.get_ident()
    return own == thread or (current_node() is not None and not _is_pythons(own))


def _is_pythons(thread: int) -> bool:
    """Return whether a thread was started by Python; it knows those of autograd by a stand-in, at most."""
    stand_in = getattr(threading, "_DummyThread", ())
    return any(one.ident == thread and not isinstance(one, stand_in) for one in threading.enumerate())


class ThreadWatch:
    """Notes, of memory that threads started from now on write, which line wrote it last.

    `threading.setprofile` is what Python has for being called first in every new thread; the profiler that was there
    before gets each thread right after.
    """

    def __init__(self, storages: Storages, places: Places) -> None:
        self.storages = storages
        self.places = places
        self._previous: Any = None
        self._is_there = False
        self.is_on = False

    def start(self) -> None:
        """Watch the threads that start from now on."""
        if not self._is_there:
            self._previous = threading.getprofile()
            self._is_there = self.is_on = True
            threading.setprofile(self._begin)

    def stop(self) -> None:
        """Watch no more; a thread that goes on runs a mode that does nothing."""
        self.is_on = False
        if self._is_there and threading.getprofile() == self._begin:
            threading.setprofile(self._previous)
        self._is_there = False

    def _begin(self, frame: FrameType, event: str, argument: Any) -> None:
        sys.setprofile(self._previous)
        if self.is_on:
            _Watch(self).enter()  # it ends with its thread


class _Watch(DispatchMode):
    def __init__(self, watch: ThreadWatch) -> None:
        super().__init__()
        self._watch = watch
        self._operations: dict[int, tuple[Any, Operation]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if self._watch.is_on and hasattr(function, "_schema"):
            self._mark(function, args, kwargs, result)
        return result

    def _mark(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        known = self._operations.get(id(function))
        if known is None:
            known = self._operations[id(function)] = function, Operation(function)
        spot = self._watch.places.here()
        if known[1].is_view:
            return
        # Without a line of the user's it is a thread of torch's own, as a loader has: what it makes is just data.
        made = [] if spot is None else tensors_in(result)
        for tensor in (*known[1].writes(args, kwargs), *made):
            if is_plain(tensor):
                self._watch.storages.mark(tensor, THREAD, spot)
