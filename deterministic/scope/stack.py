"""The process-wide stack of open entries: enter, leave in any order, suspend, resume.

An entry keeps what every source held before it was applied. From that follow all four operations:

* leave the innermost entry: restore what it saved;
* leave another one: its saved state is what the entry above it must give back one day, so it is handed up, and nothing
  is restored yet;
* suspend a body (a decorated generator or coroutine that yields): the part of the stack from its entry upward is taken
  off, what its sources hold now is put aside, and what they held before that part is restored;
* resume it: what the sources hold now is what that part must give back one day; then the part's own state is restored.

One lock covers every operation. A transition is never entered twice: whoever comes in the middle of one (a signal
handler, a finaliser run by the garbage collector) is refused.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Literal, TypeAlias

from ..errors import ScopeOrderWarning, warn
from ..ground import launch, snapshot
from ..ground.config import Config
from ..ground.snapshot import Snapshot
from ..ground.source import Source
from . import interrupt
from .entry import DECORATED, STARTED, ScopeEntry, ScopeSite, SuspendedPart, SuspendedParts
from .ownership import Owner, Standing, conflict, current_owner, standing
from .transition import Transition

OnConflict: TypeAlias = Literal["raise", "wait"]

_entries: list[ScopeEntry] = []
_suspended = SuspendedParts()
transition = Transition(_entries)

disabled = 0
"""How many scopes with enabled=False are open: they do nothing, but code inside them is not without a scope."""


def entries() -> list[ScopeEntry]:
    """Return the open entries, the innermost last."""
    return [*_entries]


def innermost() -> ScopeEntry | None:
    """Return the entry on top of the stack."""
    return _entries[-1] if _entries else None


launch.innermost_entry = innermost


def is_inside() -> bool:
    """Return whether this thread has an entry on the stack."""
    return any(entry.owner.life is current_owner().life for entry in _entries)


def enter(
    request: object,
    config: Config,
    site: ScopeSite,
    own: Sequence[Source] = (),
    *,
    run: Callable[[ScopeEntry], object],
    only: Sequence[Source] | None = None,
    on_conflict: OnConflict = "raise",
    is_step: bool = False,
) -> ScopeEntry:
    """Save every source, or `only` some, and the entry's `own`; apply `config`; push the entry, with what `run` makes.

    A step is gone before the event loop goes on: left, or taken off with its suspended body. A ScopeConflictError says,
    before anything is touched, that another thread or task has a scope open, or that this is no moment to enter one.
    """
    known, _ = _prepared()
    me = current_owner()
    interrupt.install()
    with transition:
        _take_turn(me, site, on_conflict, is_step)
        sources = only if only is not None else (*known, *own)
        saved = snapshot.capture(sources)
        applied = snapshot.apply(saved, config)
        entry = ScopeEntry(request, config, site, me, saved, applied, before=saved)
        entry.run = run(entry)
        _entries.append(entry)
    return entry


def leave(entry: ScopeEntry) -> None:
    """Give back what `entry` saved, or hand it to the entry above. Leaving twice does nothing.

    In the middle of another transition (a block that a finaliser closes) it is done once that is over. It has left also
    where a source could not be restored, and a DeterministicError says so.
    """
    if transition.is_mine():
        transition.postpone(lambda: leave(entry))
        return
    with transition:
        _leave(entry)


def suspend(entry: ScopeEntry) -> SuspendedPart:
    """Take the part of the stack from `entry` upward off, with its state, and restore what was there before it.

    It is off also where a source could not be restored, and a DeterministicError says so.
    """
    with transition:
        index = _entries.index(entry)
        entries = _entries[index:]
        outside = _outermost(entries)
        try:
            part = SuspendedPart(entries, snapshot.capture(outside))
        except BaseException:
            while len(_entries) > index:
                _leave(_entries[-1])
            raise
        for member in entries:
            member.part = part
        _suspended.add(part)
        del _entries[index:]
        snapshot.restore(outside)
    return part


def resume(part: SuspendedPart, *, on_conflict: OnConflict = "raise") -> None:
    """Put a suspended part back on the stack, on whichever thread this is.

    It stays suspended, and the sources as they were, where it is refused as by `enter` or one cannot be restored.
    """
    me = current_owner()
    interrupt.install()
    with transition:
        _take_turn(me, part.entries[0].site, on_conflict, is_step=True)
        outside = snapshot.capture(part.inside)
        try:
            snapshot.restore(part.inside)
        except BaseException:
            snapshot.restore(outside)
            raise
        _entries.extend(part.entries)
        for entry in part.entries:
            # What an entry must give back is what the sources held just now, where no entry below it covers them.
            # No comprehension: where a trace function raises in one, Python 3.12 and later call no __exit__.
            entry.saved = {**entry.saved}
            for source in entry.saved:
                entry.saved[source] = outside.pop(source, entry.saved[source])
            entry.part = None
            entry.owner = me
        _suspended.discard(part)


def find(request: object, frame: int) -> ScopeEntry | None:
    """Return the block of `request` that was entered in `frame`, else its innermost one; also if it is suspended."""
    innermost = None
    for entry in _known():
        if entry.request is request and entry.site.frame not in (DECORATED, STARTED):
            if entry.site.frame == frame:
                return entry
            innermost = innermost or entry
    return innermost


def find_started(request: object, site: ScopeSite | None) -> ScopeEntry | None:
    """Return the innermost entry that was started, not entered by a block, by `request` or at the same line."""
    line = None if site is None else (site.line, site.code.co_filename)
    for entry in _known():
        if entry.site.frame == STARTED and (
            entry.request is request or line == (entry.site.line, entry.site.code.co_filename)
        ):
            return entry
    return None


def _known() -> Iterator[ScopeEntry]:
    yield from reversed(_entries)
    for part in _suspended:
        yield from reversed(part.entries)


def _leave(entry: ScopeEntry) -> None:
    if not entry.is_open:
        return
    # Where it is, not where it is said to be: a trace function may have raised in the middle of another transition.
    layer = _entries if entry in _entries or entry.part is None else entry.part.entries
    index = layer.index(entry)
    layer.pop(index).is_open = False  # in one line, between which no trace function can raise
    entry.run = None  # the run keeps its entry, for the report; both ways would be a cycle for the collector
    if index < len(layer):
        above = layer[index]
        above.saved = {**above.saved, **entry.saved}
        _warn_order(entry, above)
    elif entry.part is not None and layer is not _entries:
        # Closed from outside while suspended: the body will wake up to the state before it. A source that no other
        # entry of the part covers was given back when the part was suspended.
        still_covered = _outermost(layer)
        entry.part.inside = {
            source: entry.saved.get(source, state)
            for source, state in entry.part.inside.items()
            if source in still_covered
        }
    else:
        snapshot.restore(entry.saved)


def _outermost(entries: list[ScopeEntry]) -> Snapshot:
    """Return what the sources held before any of `entries`, given from the bottom up."""
    outside: Snapshot = {}
    for entry in reversed(entries):
        outside.update(entry.saved)
    return outside


def _take_turn(me: Owner, site: ScopeSite, on_conflict: OnConflict, is_step: bool) -> None:
    _, refuse_moment = _prepared()
    refuse_moment()
    while _entries:
        other = _entries[-1]
        status = standing(me, other.owner, is_step=is_step)
        if status is Standing.MAY_NEST:
            return
        if status is Standing.OWNER_DEAD:
            _leave_for_the_dead(other)
        elif status is Standing.OTHER_THREAD and on_conflict == "wait":
            transition.wait()
        else:
            raise conflict(status, other.owner, other.site, site)


def _leave_for_the_dead(entry: ScopeEntry) -> None:
    # What is per thread ended with its thread; here it is the closer's own.
    entry.saved = {source: state for source, state in entry.saved.items() if not getattr(source, "per_thread", False)}
    _leave(entry)
    warn(
        ScopeOrderWarning,
        "a thread ended with a scope open; it has now been closed",
        (f"found: the scope opened at {entry.site}", f"thread: {entry.owner.thread.name}"),
        "Close it in the thread: use `with` or the decorator.",
    )


def _warn_order(entry: ScopeEntry, above: ScopeEntry) -> None:
    warn(
        ScopeOrderWarning,
        "a scope was closed before one that was opened inside it",
        (f"closed: the scope opened at {entry.site}", f"still open: the scope opened at {above.site}"),
        "Close them in reverse order; everything is given back when the last one closes.",
    )


@cache  # two threads at once may both do it: forking then does twice what is harmless twice
def _prepared() -> tuple[list[Source], Callable[[], None]]:
    """Return the sources, and what raises where no scope may be entered; from now on forked children adopt the stack.

    At the first entry, so that importing does nothing.
    """
    from ..sources import SOURCES
    from .refusals import refuse_moments

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=lambda: transition.lock.release(), after_in_child=_adopt_in_child
        )
    return SOURCES, refuse_moments()


_python_random: tuple[object, ...] | None = None  # the state of Python's generator in the parent, from before a fork


def _before_fork() -> None:
    global _python_random
    transition.lock.acquire()  # another thread's transition is not cut in two
    _python_random = random.getstate() if _entries else None


def _adopt_in_child() -> None:
    transition.after_fork_in_child()
    me = current_owner()._replace(task=None)
    for entry in _entries:
        entry.owner = me
    if _entries and _python_random is not None:
        random.setstate(_python_random)  # Python reseeds it in every child
