"""Find the first difference of two traces, and why.

Traces come from `deterministic record`, from `record(...)` in Python, or from `deterministic verify --keep-traces`.
Exits with 0 if they are the same, with 1 if they differ, and with 2 if that could not be told.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ._look import write_verdict
from ._verb import refuse

HELP = "compare two traces, and say where they first differ and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic diff`."""
    parser.add_argument("a", type=Path, metavar="A", help="a trace")
    parser.add_argument("b", type=Path, metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare two traces.

    Args:
        arguments: What `add_arguments` declares.

    Returns:
        0 the same, 1 different, 2 could not tell.
    """
    from ..errors import TraceError
    from ..trace.comparing.diff import diff

    try:
        found = diff(arguments.a, arguments.b)
    except TraceError as error:
        return refuse(str(error))
    if arguments.json:
        sys.stdout.write(f"{found.to_json(indent=2)}\n")
    else:
        write_verdict(str(found), found.exit_code, sys.stdout)
    return found.exit_code
