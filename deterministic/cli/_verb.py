"""What the verbs of the command line share."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from typing import Protocol

from ..errors import explain

OK, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
"""The exit statuses; argparse also leaves with `UNUSABLE`."""


class Verb(Protocol):
    """A module of this package that is one verb. Its docstring is the verb's description.

    Importing it imports neither torch nor an optional package: every verb is imported to print the help.
    """

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's own options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit status."""


def missing_extra(what: str, extra: str, packages: Mapping[str, str]) -> str | None:
    """Word which packages of an extra are not installed, before any work is done.

    Args:
        what: What needs them, for example "deterministic demo".
        extra: The extra that installs them.
        packages: The name on the package index by the name that is imported.

    Returns:
        Three lines, or None if nothing is missing.
    """
    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    return explain(
        f"{what} needs {'packages that are' if len(missing) > 1 else 'a package that is'} not installed",
        (f"missing: {', '.join(missing)}",),
        f"Install what it needs: pip install 'deterministic[{extra}]'",
    )


def refuse(message: str) -> int:
    """Say on stderr why nothing was done, and return the exit status for it."""
    sys.stderr.write(f"{message}\n")
    return UNUSABLE
