"""One entry into a scope, where it was made, and a suspended part of the stack: what the stack is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple
from weakref import ref

from ..errors import place
from ..ground.config import Config
from ..ground.snapshot import Snapshot
from ..ground.source import Applied
from ..trace.recording.seeding import Seeding
from .ownership import Owner


class ScopeSite(NamedTuple):
    """Where a scope was entered: a line of the user's code, or the function that was decorated."""

    code: CodeType
    line: int
    frame: int
    """`id` of the frame, which tells apart the entries of one object in several frames; else one of the marks below."""

    @classmethod
    def of(cls, frame: FrameType) -> ScopeSite:
        """Return where a block was entered in this frame."""
        return cls(frame.f_code, frame.f_lineno, id(frame))

    def __str__(self) -> str:
        return place(self.code.co_filename, self.line)


DECORATED = 0
STARTED = -1


@dataclass(eq=False, repr=False, slots=True)
class ScopeEntry:
    """One entry into a scope."""

    request: object  # the object that was entered (one request can have many entries)
    config: Config  # what was applied
    site: ScopeSite  # where
    owner: Owner  # who entered, or has resumed it since
    saved: Snapshot  # what leaving gives back; replaced when an entry below leaves first, and at every resumption
    applied: list[Applied]  # what each source did, in the order of `before`
    before: Snapshot  # what `saved` was on entering, for the report
    part: SuspendedPart | None = None  # the suspended part of the stack that this entry is in, if any
    is_open: bool = True  # false once left
    run: Any = None  # the handle that its body has; None once left
    seeded: list[Seeding] = field(default_factory=list)  # what the code seeded while it was on the stack
    # The lines that have iterated a plain DataLoader meanwhile.
    plain_loaders: dict[str, None] = field(default_factory=dict)
    opt_outs: dict[str, None] = field(default_factory=dict)


class SuspendedPart:
    """A part of the stack that was taken off: its entries, and what their sources held at that moment."""

    __slots__ = ("__weakref__", "entries", "inside")

    def __init__(self, entries: list[ScopeEntry], inside: Snapshot) -> None:
        self.entries = entries
        self.inside = inside


class SuspendedParts:
    """The parts that are off the stack, held weakly: one whose body nobody finishes is forgotten with it.

    Not a `WeakSet`: that forgets in Python code, which Ctrl-C may cut in two, and what is raised there is lost.
    """

    def __init__(self) -> None:
        self._references: set[ref[SuspendedPart]] = set()

    def add(self, part: SuspendedPart) -> None:
        self._references.add(ref(part, self._references.discard))

    def discard(self, part: SuspendedPart) -> None:
        self._references.discard(ref(part))

    def __iter__(self) -> Iterator[SuspendedPart]:
        # Of a copy, which copy() makes at one stroke: the collector may forget one in the middle of a loop.
        for reference in self._references.copy():  # deterministic: ignore[DET201] (what is asked of them has no order)
            part = reference()
            if part is not None:
                yield part
