"""How far a verification is, on stderr, if that is a terminal."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..verification.verification import Progress


@contextmanager
def progress(runs: int, *, plain: bool = False) -> Iterator[Progress]:
    """Show a bar over the runs and their steps; without rich one line for each run; nothing where nobody looks.

    Args:
        runs: How many there are to be.
        plain: Lines rather than a bar, because others write there, too.

    Yields:
        What is to be told.
    """
    if not sys.stderr.isatty():
        yield _nobody
    elif plain or importlib.util.find_spec("rich") is None:
        yield _line_by_line()
    else:
        with _bar(runs) as tell:
            yield tell


@contextmanager
def _bar(runs: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        auto_refresh=False,  # redrawn from here: no thread is in the way of what is started meanwhile
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=runs, steps="")
        place = Place()

        def tell(what: str, steps: int) -> None:
            done = place.of(what, steps)
            bar.update(task, description=what, completed=done, steps=f"step {steps}" if steps else "", refresh=True)

        yield tell


class Place:
    """Where a verification is, in runs: as long as the first lasts nobody knows how many steps a run has."""

    def __init__(self) -> None:
        self._steps_of_first = 0

    def of(self, what: str, steps: int) -> float | None:
        """Return how many runs are behind; None while an earlier one is run again, for nobody knows how often.

        Args:
            what: "run 2 of 3".
            steps: How many steps it has made.
        """
        run = re.fullmatch(r"run (\d+) of \d+", what)
        if run is None:
            return None
        number = int(run[1])
        if number == 1:
            self._steps_of_first = max(steps, self._steps_of_first)
            return 0
        return number - 1 + min(1, steps / self._steps_of_first if self._steps_of_first else 0)


def _nobody(what: str, steps: int) -> None:
    pass


def _line_by_line() -> Progress:
    last = ""

    def tell(what: str, steps: int) -> None:
        nonlocal last
        if what != last:
            last = what
            sys.stderr.write(f"{what}\n")

    return tell
