"""One file after the other, read, parsed and held against the rules."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from .files import Code, UnreadableError, code_of
from .loading import check_loading
from .names import Parsed
from .order import check_hashes, check_orders
from .rules import RULES
from .seeds import check_seeds
from .settings import check_settings

CHECKS = (check_seeds, check_orders, check_hashes, check_settings, check_loading)
_ENDS = re.compile("\r\n?|\n")
_IGNORE = re.compile(r"#\s*deterministic:\s*ignore(?:\[([^\]]*)\])?")


class Fault(NamedTuple):
    """A place that breaks a rule."""

    path: str
    cell: int  # of a notebook, counted from 1; 0 in a file of source
    line: int  # counted from 1, in the cell if there is one
    column: int  # counted from 1
    rule: str  # its id
    message: str  # what was found there

    @property
    def place(self) -> str:
        """Where it is, as its reader finds it."""
        return (
            f"{self.path} cell {self.cell} line {self.line}" if self.cell else f"{self.path}:{self.line}:{self.column}"
        )


def audit(path: str) -> list[Fault]:
    """Return what is found in a file, in the order of its lines; raise UnreadableError if it cannot be parsed."""
    code = code_of(path)
    try:
        return _findings(path, code, Parsed(_parsed(code)))
    except (RecursionError, MemoryError) as error:
        raise UnreadableError("it is nested too deeply to be looked at") from error


def _findings(path: str, code: Code, source: Parsed) -> list[Fault]:
    ignored = dict(_ignored(code.text)) if "deterministic:" in code.text else {}
    found = {
        (line, 0, "DET001"): f"there is no rule {rule}"
        for line, rules in ignored.items()
        for rule in sorted(rules - RULES.keys() - {""})
    }
    for check in CHECKS:
        for node, rule, message in check(source):
            lines = _lines(source, node)
            source.spend(min(len(lines), len(ignored)))
            fewer = lines if len(lines) < len(ignored) else filter(lines.__contains__, ignored)
            if not any({"", rule} & ignored.get(line, set()) for line in fewer):
                found[node.lineno, node.col_offset, rule] = message  # type: ignore[attr-defined]
    rows = _ENDS.split(code.text) if found else []
    return [
        Fault(path, *code.place(line), _column(source, rows[line - 1], byte), rule, found[line, byte, rule])
        for line, byte, rule in sorted(found)
    ]


def _column(source: Parsed, row: str, byte: int) -> int:
    """Return the column, counted in characters, of what Python's parser gives the byte of."""
    if row.isascii():
        return byte + 1
    source.spend(byte // 100)
    return len(row[:byte].encode()[:byte].decode()) + 1


def _parsed(code: Code) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of escapes and comparisons
            return ast.parse(code.text)
    except SyntaxError as error:
        cell, line = code.place(error.lineno or 1)
        where = f"cell {cell} line {line}" if cell else f"line {line}"
        version = ".".join(map(str, sys.version_info[:2]))
        raise UnreadableError(f"Python {version} cannot parse it: {where}: {error.msg}") from error
    except ValueError as error:
        raise UnreadableError(f"it is no source: {error}") from error


def _ignored(text: str) -> Iterator[tuple[int, set[str]]]:
    """Yield the lines with a comment that ignores, and the rules that it names, the empty one for all."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (match := _IGNORE.search(token.string)):
            yield token.start[0], {rule.strip() for rule in (match[1] or "").split(",")}


def _lines(source: Parsed, node: ast.AST) -> range:
    """Return the lines of the statement that a node is in; of one with a body, those of its head."""
    statement: Any = node if isinstance(node, ast.stmt) else source.around(node, ast.stmt)
    body = getattr(statement, "body", None)
    return range(statement.lineno, max(body[0].lineno, statement.lineno + 1) if body else statement.end_lineno + 1)
