"""How reports and tables look: on a terminal in colours, unless NO_COLOR is set, and tables by rich if it is there."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Protocol, TextIO

from ..ground.tables import aligned

STYLES = {"good": "green", "bad": "bold red", "": ""}
"""What a row is, and its colour on a terminal."""


class _JSONReport(Protocol):
    @property
    def exit_code(self) -> int: ...

    def to_json(self, *, indent: int) -> str: ...


def write_report(report: _JSONReport, *, as_json: bool) -> int:
    """Write a report on stdout, and return its exit status."""
    if as_json:
        sys.stdout.write(f"{report.to_json(indent=2)}\n")
    else:
        write_verdict(str(report), report.exit_code, sys.stdout)
    return report.exit_code


def write_verdict(text: str, status: int, file: TextIO) -> None:
    """Write a text whose first line says how it came out: in green for status 0, in red for 1, in yellow for 2."""
    first, *rest = text.split("\n")
    if file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and os.name == "posix":
        first = f"\x1b[1;{(32, 31, 33)[status]}m{first}\x1b[0m"
    file.write("\n".join([first, *rest, ""]))


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], file: TextIO, *, kinds: Sequence[str] = ()
) -> None:
    """Write a table; `columns` are its heads, and `kinds` has a key of `STYLES` for each row."""
    rows = list(rows)
    if not _is_rich(file):
        file.writelines(f"{line}\n" for line in aligned([columns, *rows]))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name, *cells in zip(columns, *rows, strict=True):  # no word is broken, however narrow the terminal
        table.add_column(name, min_width=max(map(len, " ".join([name, *cells]).split()), default=0))
    for row, kind in zip(rows, kinds or [""] * len(rows), strict=True):
        table.add_row(*map(Text, row), style=STYLES[kind])  # a Text: brackets in a cell are no markup
    Console(file=file).print(table, crop=False)


def _is_rich(file: TextIO) -> bool:
    return file.isatty() and importlib.util.find_spec("rich") is not None
