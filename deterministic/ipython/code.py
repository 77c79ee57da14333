"""How a cell is rewritten, so that it enters a scope and else stays what it is, and which scope its options ask for.

Were its body handed to `run_cell` or `exec`, as cell magics do, `await` would not work in it, its errors would show
twice or not stop the notebook (ipython/ipython#11314, #14157), and their line numbers would be off by one.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

from IPython.core import inputtransformer2
from IPython.core.error import UsageError

from ..ground.config import LEVEL_NAMES, validate_num_threads
from ..ground.seeds import validate_seed
from ..scope.reproducible import reproducible
from ..scope.request import Scope

NAME = "reproducible"
ENTER = "_reproducible_enter"
EACH = "_reproducible_each"

_FIRST_LINE = re.compile(rf"%%{NAME}(?:\s+(.*))?")
_cell_magic: Callable[[list[str]], list[str]] = inputtransformer2.cell_magic


class FirstLine:
    """Rewrites the first line of a cell, if it is `%%reproducible`, into one that enters the scope."""

    # A terminal asks the other transformers whether what was typed is complete. A cell magic is at an empty line; the
    # rewritten line would be at once.
    has_side_effects = True

    def __call__(self, lines: list[str]) -> list[str]:
        match = _FIRST_LINE.fullmatch(lines[0].rstrip()) if lines else None
        body = lines[1:]
        start = next((index for index, line in enumerate(body) if line.strip()), None)
        if match is None or start is None:  # an empty body is refused by IPython, which asks: "Did you mean ...?"
            return lines
        body[start:] = _cell_magic(body[start:])
        return [f"get_ipython().run_line_magic({ENTER!r}, {match[1] or ''!r})\n", *body]


class EachCell(ast.NodeTransformer):
    """Lets every cell begin with entering a scope, after `%reproducible on`.

    Not an event, whose errors IPython shows without stopping the cell; nor another first line, which would shift the
    others. `is_needed` says whether a cell that begins now has to enter one.
    """

    def __init__(self, is_needed: Callable[[], bool]) -> None:
        self._is_needed = is_needed

    def visit(self, node: ast.AST) -> ast.AST:
        """Insert the statement. IPython calls this for every cell, and `%timeit` for what it compiles in one."""
        # A cell of nothing but this magic stays as it is: "off" works at any moment, "report" is of the cell before.
        if isinstance(node, ast.Module) and self._is_needed() and not all(map(_is_ours, node.body)):
            enter = ast.parse(f"get_ipython().run_line_magic({EACH!r}, '')").body[0]
            for part in ast.walk(enter):
                ast.copy_location(part, node.body[0])
            node.body.insert(0, enter)
        return node


def _is_ours(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(value, ast.Call) and ast.unparse(value).startswith(f"get_ipython().run_line_magic({NAME!r},")


def run_body(shell: Any, cell: str) -> None:
    """Run a cell that is there as text only, with no top-level `await`: of `run_cell_magic`, or below another magic."""
    source = shell.transform_cell(cell)
    name = shell.compile.cache(source, shell.execution_count, raw_code=cell)
    body = shell.transform_ast(shell.compile.ast_parse(source, filename=name)).body
    last = [body.pop()] if body and isinstance(body[-1], ast.Expr) else []
    codes = [shell.compile(ast.Module(body, []), name, "exec")]
    codes += [shell.compile(ast.Interactive(last), name, "single")] if last else []
    for code in codes:
        exec(code, shell.user_global_ns, shell.user_ns)


def scope_of(line: str) -> Scope:
    """Return the scope that the options after `%%reproducible` ask for, or say in one line what is wrong with them."""
    # What is omitted stays omitted: the seed is then the enclosing scope's.
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--seed", type=_option(_seed, "0 <= N < 2**64, or none"))
    parser.add_argument("--deterministic", type=_option(lambda text: LEVEL_NAMES[text.lower()], ", ".join(LEVEL_NAMES)))
    parser.add_argument("--num-threads", type=_option(lambda text: validate_num_threads(int(text)), "1 or more"))
    try:
        options = vars(parser.parse_args(shlex.split(line)))
    except ValueError as error:  # also of a quotation mark that is not closed
        raise UsageError(
            f"%%reproducible {line.strip()}: {error}; nothing was run. "
            f"It takes --seed N, --deterministic {'|'.join(LEVEL_NAMES)}, --num-threads N."
        ) from None
    return reproducible(**options)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _option(read: Callable[[str], object], expected: str) -> Callable[[str], object]:
    def option(text: str) -> object:
        try:
            return read(text)
        except (KeyError, ValueError):  # a SeedError is one
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}") from None

    return option


def _seed(text: str) -> int | None:
    return None if text.lower() == "none" else validate_seed(int(text))
