"""The command line: one verb, one file; this module only finds the verb.

Importing it does not import torch: a verb imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from ._verb import INTERRUPTED, Verb

VERBS = ("run", "verify", "record", "diff", "info", "cost", "demo")
"""Every verb, in the order in which the help lists them; each is a module of this package."""


def verb_of(name: str) -> Verb:
    """Return the module of a verb."""
    return cast(Verb, importlib.import_module(f".{name}", __name__))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; those of the process if omitted.

    Returns:
        The exit status: 0 what was asked holds, 1 it does not, 2 it could not be done, 130 interrupted.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    # The other verbs' modules are needed for the list of all alone, and `run` is to begin at once.
    parser, verbs = _parser(given[:1] if given[:1] and given[0] in VERBS else VERBS)
    arguments, unknown = parser.parse_known_args(given)
    if unknown:
        import difflib  # here, because a run that is well spelt needs none of it

        verb = verbs[arguments.verb]
        known = re.findall(r"--[\w-]+", verb.format_help())
        close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        verb.error(f"unknown option {unknown[0]}" + (f"; did you mean {close[0]}?" if close else ""))
    arguments.argv, arguments.is_own_process = given, argv is None
    try:
        return verb_of(arguments.verb).run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _parser(names: Sequence[str]) -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the parser, and those of its verbs."""
    parser = argparse.ArgumentParser(
        prog="deterministic", description="The same bits every time, or the reason why not."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name in names:
        verb = verb_of(name)
        verb.add_arguments(verbs.add_parser(name, help=verb.HELP, description=verb.__doc__))
    return parser, verbs.choices


class _Version(argparse.Action):
    """Look the version up when it is asked for, not whenever the command runs."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('deterministic')}\n")
        parser.exit()
