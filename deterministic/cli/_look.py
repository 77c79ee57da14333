"""How reports and tables look: by rich on a terminal that has it, which respects NO_COLOR; else aligned plain text."""

from __future__ import annotations

import importlib.util
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
    if not _is_rich(file):
        file.write(f"{text}\n")
        return
    from rich.console import Console
    from rich.text import Text

    shown = Text(text)
    shown.stylize(("bold green", "bold red", "bold yellow")[status], 0, len(text.partition("\n")[0]))
    Console(file=file, soft_wrap=True, highlight=False).print(shown)


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

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row, kind in zip(rows, kinds or [""] * len(rows), strict=True):
        table.add_row(*map(Text, row), style=STYLES[kind])  # a Text: brackets in a cell are no markup
    Console(file=file).print(table)


def _is_rich(file: TextIO) -> bool:
    return file.isatty() and importlib.util.find_spec("rich") is not None
