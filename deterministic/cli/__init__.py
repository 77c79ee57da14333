"""The command line: one verb, one file; this module only finds the verb.

Importing it does not import torch: a verb imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from . import cost, demo, diff, info, record, verify
from ._verb import INTERRUPTED, Verb

VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "verify": verify,
        "record": record,
        "diff": diff,
        "info": info,
        "cost": cost,
        "demo": demo,
    }
)
"""Every verb, in the order in which the help lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; those of the process if omitted.

    Returns:
        The exit status: 0 what was asked holds, 1 it does not, 2 it could not be done, 130 interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        return VERBS[arguments.verb].run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deterministic", description="The same bits every time, or the reason why not."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, verb in VERBS.items():
        verb.add_arguments(verbs.add_parser(name, help=verb.HELP, description=verb.__doc__))
    return parser


class _Version(argparse.Action):
    """Look the version up when it is asked for, not whenever the command runs."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('deterministic')}\n")
        parser.exit()
