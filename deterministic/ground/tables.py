"""Tables of texts: in aligned lines, and as HTML for a notebook."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from typing import Any

_CELL = "text-align:left;vertical-align:top"
_HIGHLIGHT = "background:#fff8c5;color:#1f2328"  # with the colour of the text: a notebook may be dark


class ShownByFirstLine:
    """What is printed as many lines, and shows the first of them at a prompt."""

    def __repr__(self) -> str:
        first, _, rest = str(self).partition("\n")
        return f"<{first}{'; print it to see the rest' if rest else ''}>"


class Answer(ShownByFirstLine):
    """What somebody asked for: many lines, and the same as data."""

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        raise NotImplementedError

    def to_json(self, **kwargs: Any) -> str:
        """Return it as JSON text.

        Args:
            kwargs: For `json.dumps`.
        """
        return json.dumps(self.as_data(), **kwargs)


_LEAST = 40  # columns that a text takes on the narrowest terminal: its indents, and words beside them


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Return a line for each row, with every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def columns(most: int) -> int:
    """Return how wide a text may be: as the terminal, if stdout is one, and at most so many columns."""
    if not getattr(sys.stdout, "isatty", bool)():
        return most
    import shutil  # which brings three compressions with it

    return min(most, max(shutil.get_terminal_size().columns, _LEAST))


def plural(count: int, what: str) -> str:
    """Return "1 step" or "1,024 steps"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def wrapped(text: str, indent: str = "", most: int = 110) -> list[str]:
    """Return a text as lines that no word is broken for, and that fit the terminal."""
    import textwrap

    lines = textwrap.TextWrapper(columns(most), break_long_words=False, break_on_hyphens=False)
    lines.initial_indent = lines.subsequent_indent = indent
    return lines.wrap(text) or [""]


def html_table(rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), highlighted: Collection[int] = ()) -> str:
    """Return a table of escaped texts, in which rows of some numbers stand out; nothing if it has no rows."""
    if not rows:
        return ""
    lines = [_html_row("th", head)] if head else []
    lines += [_html_row("td", row, _HIGHLIGHT if index in highlighted else "") for index, row in enumerate(rows)]
    return f"<table>{''.join(lines)}</table>"


def paragraph(text: str, colour: str = "") -> str:
    """Return a line in bold."""
    style = f" style='color:{colour}'" if colour else ""
    return f"<p><b{style}>{_escaped(text)}</b></p>"


def details(summary: str, text: str) -> str:
    """Return a text that is folded away."""
    return f"<details><summary>{_escaped(summary)}</summary><pre>{_escaped(text)}</pre></details>"


def _html_row(tag: str, cells: Sequence[str], style: str = "") -> str:
    style = ";".join(filter(None, [_CELL, style]))
    return f"<tr>{''.join(f'<{tag} style={style!r}>{_escaped(cell)}</{tag}>' for cell in cells)}</tr>"


def _escaped(text: str) -> str:
    import html  # few who import this show HTML

    return html.escape(text)
