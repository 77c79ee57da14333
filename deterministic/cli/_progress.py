"""How far a verification is, on stderr, if that is a terminal."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(runs: int, *, plain: bool = False) -> Iterator[Callable[[str, int], None]]:
    """Show a bar over the runs and their steps; without rich one line for each run; nothing where nobody looks.

    Args:
        runs: How many there are to be.
        plain: Lines rather than a bar, because others write there, too.

    Yields:
        What is to be told which run is under way, and how many steps it has made.
    """
    if not sys.stderr.isatty():
        yield lambda what, steps: None
    elif plain or importlib.util.find_spec("rich") is None:
        yield _line_by_line()
    else:
        with _bar(runs) as tell:
            yield tell


def _line_by_line() -> Callable[[str, int], None]:
    last = ""

    def tell(what: str, steps: int) -> None:
        nonlocal last
        if what != last:
            last = what
            sys.stderr.write(f"{what}\n")

    return tell


@contextmanager
def _bar(runs: int) -> Iterator[Callable[[str, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[steps]}"), TimeElapsedColumn()
    # Redrawn from here: no thread is in the way of what is started meanwhile.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=runs, steps="")
        behind = RunsBehind()

        def tell(what: str, steps: int) -> None:
            completed = behind.of(what, steps)
            shown = f"step {steps}" if steps else ""
            bar.update(task, description=what, completed=completed, steps=shown, refresh=True)

        yield tell


class RunsBehind:
    """How many runs are behind: as long as the first lasts nobody knows how many steps a run has."""

    def __init__(self) -> None:
        self._steps_of_first = 0

    def of(self, what: str, steps: int) -> float | None:
        """Return the number in "run 2 of 3" after some steps; None while an earlier one is run again."""
        run = re.fullmatch(r"run (\d+) of \d+", what)
        if run is None:
            return None  # nobody knows how often
        number = int(run[1])
        if number == 1:
            self._steps_of_first = max(steps, self._steps_of_first)
            return 0
        return number - 1 + min(1, steps / self._steps_of_first if self._steps_of_first else 0)
