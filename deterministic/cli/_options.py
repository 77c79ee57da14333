"""What the verbs share: exit statuses, refusals, options, the script, and the files that they write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..errors import clipped, explain
from ..ground.levels import LEVEL_NAMES
from ..verification.scripts import ScriptTask

TYPE_CHECKING = False
if TYPE_CHECKING:  # what a run need not wait for
    import argparse
    from pathlib import Path

    from ..scope.request import Scope

OK, FAILED, UNUSABLE, INTERRUPTED, UNHEARD = 0, 1, 2, 130, 141
"""The exit statuses; argparse also leaves with `UNUSABLE`, and the last is what a shell says of SIGPIPE."""


class UsageError(Exception):
    """The command line asks for what cannot be: `main` says what, as `explain` words it, and exits with 2."""

    def __init__(self, differs: str, value: str = "", remedy: str = "") -> None:
        super().__init__(explain(differs, (value,), remedy) if value else differs)


def refuse(verb: str, why: object) -> int:
    """Say on stderr why nothing was done, as `argparse` does it, and return the exit status for it."""
    sys.stderr.write(f"deterministic {verb}: error: {why}\n")
    return UNUSABLE


def require_extra(what: str, extra: str, packages: Mapping[str, str]) -> None:
    """Refuse `what` if packages of an extra, their names by what is imported, are not installed."""
    import importlib.util

    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(
            f"{what} needs {'packages that are' if len(missing) > 1 else 'a package that is'} not installed",
            f"missing: {', '.join(missing)}",
            f"Install what it needs: pip install 'deterministic[{extra}]'",
        )


def require_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before time is spent on what goes into it."""
    if not path.parent.is_dir():
        raise UsageError("there is no such directory", f"found: {path.parent}", "Make it, or name another file.")
    if path.is_dir():
        raise UsageError("this is a directory", f"found: {path}", "Name a file.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError("the file cannot be written", f"found: {path}", "Name one that can.")


def require_drawable(path: Path, what: str) -> None:
    """Refuse a picture that the option `what` could not draw."""
    if path.suffix.lower() != ".png":
        raise UsageError("the picture is a PNG", f"found: {path}", "Give a name that ends in .png.")
    require_writable(path)
    require_extra(what, "plot", {"matplotlib": "matplotlib"})


@contextmanager
def written(what: str) -> Iterator[None]:
    """Refuse what could not be written after all."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the {what} could not be written", f"found: {error}", "Name a file that can be written."
        ) from error


def add_script(parser: argparse.ArgumentParser) -> None:
    """Declare the script, a path, or `-m` and a module, and after it whatever is its own: after the verb's options."""
    # A script's own --s is no abbreviation of ours, and would be refused as an ambiguous one.
    parser.allow_abbrev = False
    parser.usage = f"{parser.prog} [options] (SCRIPT | -m MODULE) [arguments of its own]"
    parser.add_argument("-m", dest="is_module", action="store_true", help="run a module, as `python -m` does")
    parser.add_argument(
        "command",
        nargs="...",  # argparse.REMAINDER
        metavar="SCRIPT",
        help="the script or module; everything after it belongs to it",
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
    """Return the script that was named; a UsageError says that none was, or that there is none at this path."""
    command = list(arguments.command)
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        raise UsageError(
            "no script was named",
            f"found: {'-m without a module' if arguments.is_module else 'only options'}",
            "Name one after the options: SCRIPT, or -m MODULE; everything after it belongs to it.",
        )
    target, *argv = command
    if not arguments.is_module:
        _require_script(target)
    return ScriptTask(target, tuple(argv), arguments.is_module)


_NO_OPTIONS = ("verb", "command", "is_module", "argv", "is_own_process", "seeds_file")


def tell_misplaced(arguments: argparse.Namespace) -> None:
    """Say on stderr which options of the verb stand after the script: they are given to it, and do nothing here."""
    ours = {f"--{name.replace('_', '-')}": value for name, value in vars(arguments).items() if name not in _NO_OPTIONS}
    words = arguments.command[1:]
    found = []
    for word, after in zip(words, [*words, "-"][1:], strict=True):
        if (name := word.partition("=")[0]) in ours:
            has_value = name == word and not isinstance(ours[name], bool) and not after.startswith("-")
            found.append(clipped(f"{word} {after}" if has_value else word))
    if found and os.environ.get("LOCAL_RANK", "0") == "0":
        stand = "stand after the script and are" if len(found) > 1 else "stands after the script and is"
        said = f"{', '.join(found)} {stand} given to it; options of deterministic come before it"
        sys.stderr.write(f"deterministic {arguments.verb}: {said}\n")


def _require_script(target: str) -> None:
    value = f"found: {target}"
    if not os.path.exists(target):
        raise UsageError("there is no such script", value, "Give its path; for a module, -m and its name.")
    if os.path.isdir(target) and not os.path.exists(os.path.join(target, "__main__.py")):
        raise UsageError("this directory has no __main__.py", value, "Name the script inside of it.")
    if os.path.isfile(target):  # not a pipe: looking at it would take from it
        try:
            open(target, "rb").close()
        except OSError as error:
            remedy = "Name one that you may read."
            raise UsageError("the script cannot be read", f"{value}: {error.strerror}", remedy) from error


def control_of(arguments: argparse.Namespace) -> Scope | bool:
    """Return the scope that was asked for, as `verify(control=)` takes it."""
    options = {name: getattr(arguments, name) for name in ("seed", "deterministic")}
    chosen = {name: value for name, value in options.items() if value is not None}
    if arguments.as_is:
        if chosen:
            raise UsageError(
                "--as-is changes nothing, so it has no seed and no level",
                f"found: --as-is, {', '.join(f'--{name}' for name in chosen)}",
                "Leave one of them out.",
            )
        return False
    from ..scope.reproducible import reproducible

    if "deterministic" in chosen:
        chosen["deterministic"] = LEVEL_NAMES[chosen["deterministic"]]
    return reproducible(**chosen)


def unusable(why: str) -> Exception:
    """Return the error with which `argparse` says what a value is not."""
    from argparse import ArgumentTypeError

    return ArgumentTypeError(why)


def seed_option(text: str) -> int:
    """Return a seed, for `argparse`."""
    from ..ground.seeds import validate_seed

    try:
        return validate_seed(int(text, 0))
    except ValueError as error:  # a SeedError is one
        raise unusable(f"{text!r} is not a seed, an integer with 0 <= seed < 2**64") from error


def seeds_option(text: str) -> list[int]:
    """Return the seeds of "42,123,456", or of "42:5", five derived from 42; for `argparse`."""
    from ..ground.seeds import spawn_seeds, validate_seed

    base, colon, count = text.partition(":")
    try:
        seeds = spawn_seeds(int(base, 0), int(count)) if colon else [validate_seed(int(a, 0)) for a in text.split(",")]
    except ValueError as error:  # a SeedError is one
        raise unusable(
            f"{text!r} is neither seeds (42,123,456) nor a seed and how many (42:5), with 0 <= seed < 2**64"
        ) from error
    if not seeds or len(set(seeds)) < len(seeds):
        raise unusable(f"{text!r}: give at least one seed, and each once")
    return seeds


def sizes_option(text: str) -> list[int]:
    """Return the numbers of ranks of "1,2,4", for `argparse`."""
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if len(sizes) < 2 or min(sizes) < 1 or len({*sizes}) < len(sizes):
        raise unusable(f"{text!r} is not two or more numbers of ranks, each once, as in 1,2,4")
    return sizes


def seconds_option(text: str) -> float:
    """Return a number of seconds above 0, for `argparse`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise unusable(f"{text!r} is not a number of seconds above 0")
    return seconds


def at_least(least: int) -> Callable[[str], int]:
    """Return what takes an integer of so many or more, for `argparse`."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise unusable(f"{text!r} is not an integer of {least} or more")
        return int(text)

    return count
