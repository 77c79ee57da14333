"""The options of `%%reproducible`, as they are written in its line."""

from __future__ import annotations

import argparse
import shlex
from typing import NoReturn

from IPython.core.error import UsageError

from ..ground.config import LEVEL_NAMES, Level, validate_num_threads
from ..ground.seeds import validate_seed
from ..scope.reproducible import reproducible
from ..scope.request import Scope


def scope_of(line: str) -> Scope:
    """Return the scope that the options ask for. Touches nothing.

    Args:
        line: What stands after `%%reproducible`.

    Raises:
        UsageError: In one line, what is wrong, and what is expected.
    """
    try:
        options = vars(_parser().parse_args(shlex.split(line)))
    except ValueError as error:  # a quotation mark that is not closed
        raise _usage_error(line, str(error)) from None
    except _BadOptionError as error:
        raise _usage_error(line, str(error)) from None
    return reproducible(**options)


class _BadOptionError(Exception):
    """The line is not of the form that the parser expects."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _BadOptionError(message)


def _parser() -> argparse.ArgumentParser:
    # What is omitted stays omitted: the seed is then the enclosing scope's.
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--seed", type=_seed)
    parser.add_argument("--deterministic", type=_level)
    parser.add_argument("--num-threads", type=_num_threads)
    return parser


def _seed(text: str) -> int | None:
    try:
        return None if text.lower() == "none" else validate_seed(int(text))
    except ValueError:  # a SeedError is one
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 0 <= N < 2**64, or none") from None


def _level(text: str) -> Level:
    try:
        return LEVEL_NAMES[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {', '.join(LEVEL_NAMES)}") from None


def _num_threads(text: str) -> int | None:
    try:
        return validate_num_threads(int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 or more") from None


def _usage_error(line: str, why: str) -> UsageError:
    return UsageError(
        f"%%reproducible {line.strip()}: {why}; nothing was run. "
        f"It takes --seed N, --deterministic {'|'.join(LEVEL_NAMES)}, --num-threads N."
    )
