"""`run.allow_nondeterministic()`: the way out for one operation."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from ..ground.config import Config
from . import stack
from .entry import Entry, Site
from .interrupt import indivisible

if TYPE_CHECKING:
    from .run import Run


class OptOut:
    """`run.allow_nondeterministic()`: an entry of its own that covers the deterministic algorithms alone."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._entries: list[Entry] = []

    @indivisible
    def __enter__(self) -> Run:
        from ..sources import ALGORITHMS

        asked = Config() if self._run._entry is None else self._run._entry.config
        config = replace(asked, allow_nondeterministic=True)
        frame = sys._getframe(1)
        site = Site(frame.f_code, frame.f_lineno, id(frame))
        entry = stack.enter(self, config, site, only=(ALGORITHMS,), run=lambda entry: self._run)
        self._entries.append(entry)
        return self._run

    @indivisible
    def __exit__(self, *exc_info: object) -> None:
        stack.leave(self._entries.pop())
