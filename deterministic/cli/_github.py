"""A report as GitHub Actions shows it: beside its line, in the commit or the pull request."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..verification.report import Report

_IN_DATA = "%\r\n"
_LEVELS = {"same": "notice", "different": "error", "could not tell": "error"}


def annotation(report: Report, environment: Mapping[str, str] = os.environ) -> str:
    """Return the workflow command for a report, at the user's line where that is a file of the repository."""
    properties = {}
    moment = report.divergence and report.divergence.moment
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
