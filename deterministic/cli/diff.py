"""Find the first difference of two traces, and why.

Traces come from `deterministic record`, from `record(...)` in Python, or from `deterministic verify --keep-traces`.
Exits with 0 if they are the same, with 1 if they differ, and with 2 if that could not be told.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._look import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic diff`."""
    parser.add_argument("a", type=Path, metavar="A", help="a trace")
    parser.add_argument("b", type=Path, metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare two traces, and return 0 the same, 1 different, 2 could not tell."""
    from ..trace.comparing.diff import diff

    return write_report(diff(arguments.a, arguments.b), as_json=arguments.json)
