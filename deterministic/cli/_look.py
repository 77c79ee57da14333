"""How tables look: drawn by rich on a terminal that has it, else aligned plain text. NO_COLOR is respected by rich."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import TextIO

from ..ground.tables import aligned

STYLES = {"good": "green", "bad": "bold red", "": ""}
"""What a row is, and its colour on a terminal."""


def is_rich(file: TextIO) -> bool:
    """Return whether what is written there is looked at on a terminal, and rich is installed."""
    return file.isatty() and importlib.util.find_spec("rich") is not None


def write_verdict(text: str, status: int, file: TextIO) -> None:
    """Write a report, whose first line says how it came out, in the colour of the exit status.

    Args:
        text: The report.
        status: 0 good, 1 bad, 2 could not tell.
        file: Where to.
    """
    if not is_rich(file):
        file.write(f"{text}\n")
        return
    from rich.console import Console
    from rich.text import Text

    first, *rest = text.splitlines()
    shown = Text(first, style=("bold green", "bold red", "bold yellow")[status])
    Console(file=file, soft_wrap=True, highlight=False).print(Text("\n").join([shown, *map(Text, rest)]))


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], file: TextIO, *, kinds: Sequence[str] = (), title: str = ""
) -> None:
    """Write a table.

    Args:
        columns: The heads.
        rows: The cells, as many in each row as there are heads.
        file: Where to.
        kinds: For each row a key of `STYLES`; none if omitted.
        title: What stands above it.
    """
    rows = [tuple(row) for row in rows]
    if is_rich(file):
        _draw(columns, rows, file, kinds or [""] * len(rows), title)
        return
    file.writelines(f"{line}\n" for line in [*filter(None, [title]), *aligned([columns, *rows])])


def _draw(
    columns: Sequence[str], rows: Sequence[Sequence[str]], file: TextIO, kinds: Sequence[str], title: str
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold")
    for row, kind in zip(rows, kinds, strict=True):
        table.add_row(*map(Text, row), style=STYLES[kind])  # a Text: brackets in a cell are no markup
    Console(file=file).print(table)
