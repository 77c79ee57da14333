"""Who has a scope open, and whether somebody else may enter one inside it."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from enum import Enum
from types import FrameType
from typing import Any, NamedTuple

from ..errors import ScopeConflictError


class _Life:
    """Exists as long as one thread runs. Thread objects and identifiers outlive threads that Python did not start."""

    __slots__ = ("__weakref__",)


_of_this_thread = threading.local()


class Owner(NamedTuple):
    """The thread that entered, and its asyncio task, or a reference to its greenlet; None outside of one."""

    thread: threading.Thread
    life: weakref.ref[_Life]
    task: Any


class Standing(Enum):
    """How one who wants to enter stands to the owner of the innermost scope."""

    MAY_NEST = "may nest"
    OTHER_THREAD = "another thread"
    OTHER_TASK = "another asyncio task"
    OWNER_DEAD = "a thread that has ended"


def current_owner() -> Owner:
    """Return who is running now."""
    return Owner(threading.current_thread(), _life(), _current_task())


def standing(me: Owner, owner: Owner, *, is_step: bool) -> Standing:
    """Return whether `me` may enter inside a scope of `owner`.

    A step is gone before the event loop goes on (a call of a decorated function, or a step of a decorated coroutine),
    so it cannot interleave with other tasks of the same thread.
    """
    if me.life is owner.life:
        if is_step or owner.task is None or owner.task is me.task or _has_ended(owner.task):
            return Standing.MAY_NEST
        return Standing.OTHER_TASK
    if owner.life() is None or not owner.thread.is_alive():
        return Standing.OWNER_DEAD
    return Standing.MAY_NEST if _runs_backward_for(owner.thread) else Standing.OTHER_THREAD


def conflict(status: Standing, owner: Owner, open_site: object, wanted_site: object) -> ScopeConflictError:
    """Return the error for one who may not enter, with both lines and the ways out."""
    who, whose = f"thread {owner.thread.name}", status.value
    if isinstance(owner.task, weakref.ref):
        whose = "another greenlet"
    elif owner.task is not None:
        who += f", task {owner.task.get_name()}"
    queue = ' (on_conflict="wait" queues threads)' if status is Standing.OTHER_THREAD else ""
    return ScopeConflictError(
        f"{whose} has a scope open; the generators and flags are shared by the whole process",
        (f"found: a scope opened at {open_site} ({who})", f"wanted: a scope at {wanted_site}"),
        f"Run one after the other{queue}, use a process each, or decorate coroutines with @reproducible instead of "
        "holding a `with` open over an await.",
    )


def _life() -> weakref.ref[_Life]:
    try:
        life: weakref.ref[_Life] = _of_this_thread.reference
    except AttributeError:
        _of_this_thread.life = _Life()
        life = _of_this_thread.reference = weakref.ref(_of_this_thread.life)
    return life


def _current_task() -> Any:
    asyncio, greenlet = sys.modules.get("asyncio"), sys.modules.get("greenlet")
    loop = getattr(asyncio, "_get_running_loop", _nothing)()  # asyncio may be being imported
    if asyncio is not None and loop is not None:
        return asyncio.current_task(loop)
    current = None if greenlet is None else getattr(greenlet, "getcurrent", _nothing)()
    return None if current is None or current.parent is None else weakref.ref(current)  # the same, as long as it lives


def _nothing() -> None: ...


def _has_ended(task: Any) -> bool:
    if isinstance(task, weakref.ref):
        task = task()
        return task is None or bool(task.dead)
    return bool(task.done())


def _runs_backward_for(owner: threading.Thread) -> bool:
    """Whether this is one of autograd's threads, and `owner` is waiting for a backward pass.

    Autograd runs hooks and custom backwards for a device on a thread of that device, while the caller waits in
    `_engine_run_backward`; whatever they do is done for the caller. A thread of Python's that waits for a backward
    pass of its own is not one of autograd's.
    """
    torch = sys.modules.get("torch")
    if torch is None or torch._C._current_graph_task_id() == -1:
        return False
    started_by_python = not isinstance(threading.current_thread(), threading._DummyThread)
    if started_by_python and _waits_for_backward(sys._getframe()):
        return False
    return _waits_for_backward(sys._current_frames().get(owner.ident or 0))


def _waits_for_backward(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "_engine_run_backward" and f"{os.sep}torch{os.sep}" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
