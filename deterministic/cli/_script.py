"""What the verbs that run a user's script share: our options, then the script, then what is the script's own."""

from __future__ import annotations

import argparse
import math
import os
from typing import TYPE_CHECKING

from ..errors import SeedError, explain
from ..ground.config import LEVEL_NAMES
from ..ground.seeds import spawn_seeds, validate_seed
from ..verification.scripts import ScriptTask

if TYPE_CHECKING:
    from ..scope.request import Scope


class UsageError(Exception):
    """The command line asks for what cannot be; the text is what `explain` worded."""


def add_script(parser: argparse.ArgumentParser) -> None:
    """Declare the script: a path, or `-m` and a module, and after it whatever is its own.

    Args:
        parser: That of the verb; call it after the verb has declared its own options.
    """
    # A script's own --s is no abbreviation of ours, and would be refused as an ambiguous one.
    parser.allow_abbrev = False
    parser.usage = f"{parser.prog} [options] (SCRIPT | -m MODULE) [arguments of its own]"
    parser.add_argument("-m", dest="is_module", action="store_true", help="run a module, as `python -m` does")
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT",
        help="the script or module; all that comes after it is its own",
    )


def add_control(parser: argparse.ArgumentParser) -> None:
    """Declare under which scope the script runs."""
    add_seed_and_level(parser)
    parser.add_argument("--as-is", action="store_true", help="change nothing: neither seed nor set a flag")


def add_seed_and_level(parser: argparse.ArgumentParser) -> None:
    """Declare `--seed` and `--deterministic`."""
    parser.add_argument("--seed", type=seed_option, metavar="N", help="the seed, 0 <= N < 2**64 (default: 42)")
    parser.add_argument(
        "--deterministic",
        type=str.lower,
        choices=LEVEL_NAMES,
        metavar="LEVEL",
        help=f"{', '.join(LEVEL_NAMES)} (default: true)",
    )


def task_of(arguments: argparse.Namespace) -> ScriptTask:
    """Return the script that was named.

    Raises:
        UsageError: None was, or there is none at this path.
    """
    command = list(arguments.command)
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        raise UsageError(
            explain(
                "no script was named",
                (f"found: {'-m without a module' if arguments.is_module else 'options alone'}",),
                "Name one after the options: SCRIPT, or -m MODULE; what comes after it is its own.",
            )
        )
    target, *argv = command
    if not arguments.is_module:
        _check_path(target)
    return ScriptTask(target, tuple(argv), arguments.is_module)


def _check_path(target: str) -> None:
    if not os.path.exists(target):
        raise UsageError(
            explain("there is no such script", (f"found: {target}",), "Give its path; for a module, -m and its name.")
        )
    if os.path.isdir(target):
        if not os.path.exists(os.path.join(target, "__main__.py")):
            raise UsageError(
                explain("this directory has no __main__.py", (f"found: {target}",), "Name the script inside of it.")
            )
        return
    if not os.path.isfile(target):
        return  # a pipe: looking at it would take from it
    try:
        with open(target, "rb"):
            pass
    except OSError as error:
        raise UsageError(
            explain("the script cannot be read", (f"found: {target}: {error.strerror}",), "Name one that you may read.")
        ) from error


def control_of(arguments: argparse.Namespace) -> Scope | bool:
    """Return the scope that was asked for, as `verify(control=)` takes it.

    Raises:
        UsageError: `--as-is` and options of a scope.
    """
    if arguments.as_is:
        given = [f"--{name}" for name in ("seed", "deterministic") if getattr(arguments, name) is not None]
        if given:
            raise UsageError(
                explain(
                    "--as-is changes nothing, so it has no seed and no level",
                    (f"found: --as-is, {', '.join(given)}",),
                    "Leave one of them out.",
                )
            )
        return False
    from ..scope.reproducible import reproducible

    level = LEVEL_NAMES[arguments.deterministic or "true"]
    return (
        reproducible(deterministic=level)
        if arguments.seed is None
        else reproducible(arguments.seed, deterministic=level)
    )


def seeds_option(text: str) -> list[int]:
    """Return the seeds of "42,123,456", or of "42:5", five derived from 42; for `argparse`."""
    base, colon, count = text.partition(":")
    try:
        seeds = spawn_seeds(int(base, 0), int(count)) if colon else [validate_seed(int(a, 0)) for a in text.split(",")]
    except ValueError as error:  # a SeedError is one
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither seeds (42,123,456) nor a seed and how many (42:5), with 0 <= seed < 2**64"
        ) from error
    if not seeds or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{text!r}: give at least one seed, and each once")
    return seeds


def positive_seconds(text: str) -> float:
    """Return a number of seconds above 0, for `argparse`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def seed_option(text: str) -> int:
    """Return a seed, for `argparse`."""
    try:
        return validate_seed(int(text, 0))
    except (ValueError, SeedError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed, an integer with 0 <= seed < 2**64") from error
