"""How far a verification is, on stderr, if that is a terminal."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

ProgressCallback: TypeAlias = Callable[[str, int], None]
"""Is told which run is under way, and how many steps it has made."""

_SECONDS_BETWEEN_DRAWS = 0.1
_WIDTH = 30


@contextmanager
def progress(runs: int, *, plain: bool = False) -> Iterator[ProgressCallback]:
    """Show a bar over the runs and their steps, with a clock; nothing where nobody looks.

    Or, plainly, a line for each run, because others write there, too.
    """
    terminal = None
    with suppress(AttributeError, OSError):  # of a file that is none of the system's
        terminal = sys.stderr.fileno()
    if not getattr(sys.stderr, "isatty", bool)() or os.environ.get("LOCAL_RANK", "0") != "0":
        yield lambda what, steps: None
    elif plain or terminal is None or os.name != "posix":
        yield _line_by_line()
    else:
        bar, ended = Bar(runs), threading.Event()
        thread = threading.Thread(target=_draw, args=(bar, ended, terminal), daemon=True)
        thread.start()
        try:
            yield bar.tell
        finally:
            ended.set()
            thread.join()


def _line_by_line() -> ProgressCallback:
    last = ""

    def tell(what: str, steps: int) -> None:
        nonlocal last
        if what != last:
            last = what
            sys.stderr.write(f"{what}\n")

    return tell


def _draw(bar: Bar, ended: threading.Event, terminal: int) -> None:
    """Draw a bar below the cursor, which stays where it is for what the runs print, until it has ended.

    It writes past Python's own file, whose lock a forked worker would inherit.
    """
    began = time.monotonic()
    while not ended.wait(_SECONDS_BETWEEN_DRAWS):
        line = bar.line(time.monotonic() - began)[: (os.get_terminal_size(terminal).columns or 80) - 1]
        # Erase what is below; make room for a line, go up again; and write it from there.
        os.write(terminal, f"\x1b[J\x1bD\x1b[A\x1b7\x1b[B\r{line}\x1b8".encode())
    os.write(terminal, b"\x1b[J")


class Bar:
    """A line of text on how many runs are behind.

    As long as the first lasts nobody knows how many steps a run has; nor ever how often some are run again.
    """

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._told = "", 0
        self._steps_of_first = 0
        self._behind = 0.0

    def tell(self, what: str, steps: int) -> None:
        """Be told which run is under way, as in "run 2 of 3", and how many steps it has made."""
        self._told = what, steps
        run = re.fullmatch(r"run (\d+) of \d+", what)
        if run is not None and run[1] == "1":
            self._steps_of_first = max(steps, self._steps_of_first)
        elif run is not None:
            part = min(1, steps / self._steps_of_first if self._steps_of_first else 0)
            self._behind = min(self._runs, int(run[1]) - 1 + part)

    def line(self, seconds: float) -> str:
        """Return it after so many seconds."""
        what, steps = self._told
        done = round(_WIDTH * self._behind / self._runs)
        clock = f"{int(seconds) // 60}:{int(seconds) % 60:02}"
        return "  ".join(filter(None, [what, "━" * done + "─" * (_WIDTH - done), f"step {steps}" * bool(steps), clock]))
