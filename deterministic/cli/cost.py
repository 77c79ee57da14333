"""Measure what each level of determinism costs a script: time, memory, and whether it is bit-exact.

The script stays as it is. At each level it runs in fresh interpreters, seeded, the levels in turn: once to warm up, as
often as asked with nothing else going on, once for its memory, once profiled, and as `deterministic verify` runs it.
Times are those of the script itself, without the start of the interpreter and the import of torch. What raises at a
level is told, and the other levels go on. Exits with 0, or with 2 if the script failed at every level.
"""

from __future__ import annotations

import argparse
import sys

from ..ground.config import LEVEL_NAMES, Level
from ._options import OK, add_script, at_least, task_of, tell_misplaced


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic cost`."""
    parser.add_argument(
        "--runs", type=at_least(2), default=3, metavar="N", help="how many are timed, and compared (default: 3)"
    )
    parser.add_argument(
        "--levels",
        type=_levels,
        default=list(LEVEL_NAMES.values()),
        metavar="LEVELS",
        help=f"some of {','.join(LEVEL_NAMES)} (default: all); times are ratios to false, else to the first",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_script(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure a script, progress on stderr, what was found on stdout: 0 measured, 2 if it could not be."""
    task = task_of(arguments)
    tell_misplaced(arguments)

    from ..verification.levels import compare
    from ..verification.progress import progress
    from ..verification.trials import FreshTrials

    with progress(0, plain=True) as tell:  # what fails at each level, raises as at the first
        comparison = compare(FreshTrials(task), arguments.levels, arguments.runs, lambda what: tell(what, 0))
    sys.stdout.write(f"{comparison.to_json(indent=2) if arguments.json else comparison}\n")
    return OK


def _levels(text: str) -> list[Level]:
    names = text.split(",")
    if not set(names) <= LEVEL_NAMES.keys() or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not some of {','.join(LEVEL_NAMES)}, each once")
    return [LEVEL_NAMES[name] for name in names]
