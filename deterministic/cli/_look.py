"""How reports and tables look: aligned plain text, on a terminal with colours unless NO_COLOR is set; and on GitHub."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from ..ground.tables import aligned

if TYPE_CHECKING:
    from ..provenance.difference import ManifestDiff
    from ..trace.comparing.verdict import Judgement
    from ..verification.report import Report

_COLOURS = {"good": "32", "bad": "1;31", "": "", 0: "1;32", 1: "1;31", 2: "1;33"}
"""Of what a row is, and of the first line of a report by its exit status."""


def write_report(report: Judgement | ManifestDiff, *, as_json: bool) -> int:
    """Write a report on stdout, and return its exit status."""
    if as_json:
        sys.stdout.write(f"{report.to_json(indent=2)}\n")
    else:
        write_verdict(str(report), report.exit_code, sys.stdout)
    return report.exit_code


def write_verdict(text: str, status: int, file: TextIO) -> None:
    """Write a text whose first line says how it came out: in green for status 0, in red for 1, in yellow for 2."""
    first, *rest = text.split("\n")
    file.write("\n".join([_coloured(first, _COLOURS[status], file), *rest, ""]))


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], file: TextIO, *, kinds: Sequence[str] = ()
) -> None:
    """Write a table; `columns` are its heads, and `kinds` says of each row whether it is "good" or "bad"."""
    head, *lines = aligned([columns, *rows])
    file.write(f"{_coloured(head, '1', file)}\n")
    for line, kind in zip(lines, kinds or [""] * len(lines), strict=True):
        file.write(f"{_coloured(line, _COLOURS[kind], file)}\n")


def _coloured(text: str, colour: str, file: TextIO) -> str:
    plain = not colour or not file.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or os.name != "posix" else f"\x1b[{colour}m{text}\x1b[0m"


# Beside its line, in the commit or the pull request: GitHub Actions.

_IN_DATA = "%\r\n"
_LEVELS = {"same": "notice", "different": "error", "could not tell": "error"}


def annotation(report: Report, environment: Mapping[str, str] = os.environ) -> str:
    """Return the workflow command for a report, at the user's line where that is a file of the repository."""
    properties = {}
    moment = None if report.divergence is None else report.divergence.moment
    path, _, line = ("" if moment is None else moment.site.users_line.place).rpartition(":")
    if os.path.isfile(path):
        properties = {"file": path, "line": line}
    return command(_LEVELS[report.outcome], {**properties, "title": report.headline}, str(report), environment)


def command(
    level: str, properties: Mapping[str, str], message: str, environment: Mapping[str, str] = os.environ
) -> str:
    """Return a workflow command; a `file` among its properties becomes a path in the repository.

    Source: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands, and for the escapes
    https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
    """
    if "file" in properties:
        file = os.path.relpath(properties["file"], environment.get("GITHUB_WORKSPACE") or ".")
        properties = {**properties, "file": file}
    told = ",".join(f"{name}={_escaped(value, _IN_DATA + ':,')}" for name, value in properties.items())
    return f"::{level} {told}::{_escaped(message, _IN_DATA)}\n"


def _escaped(text: str, letters: str) -> str:
    return "".join(f"%{ord(letter):02X}" if letter in letters else letter for letter in text)
