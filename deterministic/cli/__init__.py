"""The command line: one verb, one file; this module only finds the verb.

Importing it does not import torch: a verb's module is imported when the verb runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from ..errors import DeterministicError
from ..verification.scripts import NotRunnableError
from ._options import INTERRUPTED, UNHEARD, UNUSABLE, UsageError, refuse
from ._plain import plainly

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, NoReturn

VERBS = {
    "run": "run a script, seeded and deterministic from before Python starts",
    "verify": "run a script several times, and say whether it is bit-exact, or where it first differs and why",
    "record": "run a script, and record what it computes into a trace",
    "diff": "compare two traces, and say where they first differ and why; or two manifests",
    "replay": "run again what a manifest tells of, and say what differs here",
    "info": "show what is in effect and what is not controlled, or what is inside a checkpoint",
    "audit": "find in source what breaks reproducibility, without running it",
    "cost": "measure what each level of determinism costs a script, and what it gives",
    "demo": "train on scikit-learn's digits, and show which runs have the same bits",
}
"""Every verb and what it does, in the order in which the help lists them; each is a module of this package."""


def verb_of(name: str) -> ModuleType:
    """Return the module of a verb: its docstring is the description, and it has `add_arguments` and `run`."""
    return importlib.import_module(f".{name}", __name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; those of the process if omitted.

    Returns:
        The exit status: 0 what was asked holds, 1 it does not, 2 it could not be done, 130 interrupted, 141 nobody
        read on what was printed (`| head`).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(words, is_own_process=argv is None)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            return INTERRUPTED
        except (UsageError, DeterministicError, NotRunnableError) as error:
            return refuse(words[0], error)
        finally:
            if words[:1] not in (["run"], ["record"]):  # where the script's output ends as with Python alone
                sys.stdout.flush()
    except BrokenPipeError:
        # What is left for whoever has gone must not fail once more when Python ends and flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD


def _run(words: list[str], *, is_own_process: bool) -> int:
    arguments: Any = plainly(verb_of("run").add_arguments, words[1:]) if words[:1] == ["run"] else None
    arguments = arguments or _parsed(words)
    if arguments is None:
        return UNUSABLE
    arguments.verb, arguments.argv, arguments.is_own_process = words[0], words, is_own_process
    status: int = verb_of(words[0]).run(arguments)
    return status


def _parsed(words: list[str]) -> argparse.Namespace | None:
    """Return what `argparse` makes of the words, with the help and the errors that are its own; None without words."""
    import argparse

    class Version(argparse.Action):
        """Look the version up when it is asked for, not whenever the command runs."""

        def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
            from ..ground.installed import version_of

            version, why = version_of("deterministic")
            sys.stdout.write(f"{parser.prog} {version or why or 'is not installed'}\n")
            parser.exit()

    parser = argparse.ArgumentParser(
        prog="deterministic", description="The same bits every time, or the reason why not."
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="verb")
    for name, what in VERBS.items():
        verbs.add_parser(name, help=what)
    if not words:
        parser.print_help(sys.stderr)
        return None
    if words[0] in VERBS:  # the modules of the others are not needed
        verbs.choices[words[0]].description = verb_of(words[0]).__doc__
        verb_of(words[0]).add_arguments(verbs.choices[words[0]])
    elif words[0] not in ("-h", "--help", "--version"):
        parser.error(_no_verb(words))
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        verbs.choices[arguments.verb].error(_no_option(unknown[0], verbs.choices[arguments.verb].format_help()))
    return arguments


def _no_verb(words: list[str]) -> str:
    """Return what is said of a command line without a verb: it may be one of Python's, with a script."""
    import difflib  # here, because a run that is well spelt needs none of it

    first, *rest = words
    meant = [" ".join([verb, *rest]) for verb in difflib.get_close_matches(first, VERBS, n=1)]
    if first.endswith(".py") or os.path.exists(first) or (first.startswith("-") and rest):
        meant = [" ".join(["run", *words])]
    advice = f"did you mean `deterministic {meant[0]}`?" if meant else f"the verbs are {', '.join(VERBS)}"
    return f"there is no verb {first}; {advice}"


def _no_option(option: str, help_text: str) -> str:
    """Return what is said of an option that a verb does not have."""
    import re

    from ..ground.synonyms import meant

    known = [name[2:].replace("-", "_") for name in re.findall(r"--[\w-]+", help_text)]
    name, _, value = option.partition("=")
    found = meant(name.strip("-").replace("-", "_"), value, known)
    if found is None:
        return f"unknown option {option}"
    level = "" if found[1] is value else f" {str(found[1]).lower()}"
    return f"unknown option {option}; did you mean --{found[0].replace('_', '-')}{level}?"
