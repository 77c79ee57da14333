"""What the names of a file stand for: imports, aliases, assignments, and what hides them."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from .files import UnreadableError

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SCOPES = frozenset((*_DEFINITIONS, ast.Lambda))
_BOUND = (ast.arg, ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping)
_ASSIGNED = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
_LOOKED_AT = (ast.Call, ast.Delete, ast.Dict, ast.For, ast.comprehension, ast.Starred)
_NAMING = (ast.Import, ast.ImportFrom, ast.Name, ast.Global, ast.Nonlocal)
_SEEN = frozenset((*_LOOKED_AT, *_NAMING, *_DEFINITIONS, ast.Lambda, *_BOUND, *_ASSIGNED))
"""The types of nodes that anything is kept of."""
_DEEPEST = 8  # aliases of aliases that are followed
MOST_STEPS = 1_000_000
"""Parts of a file that are looked at, each as often as it is: one that needs more was written to keep this one busy."""
_OPAQUE = ast.Constant(..., lineno=0, end_lineno=0)
"""Stands for a value of which nothing is known: an argument, the variable of a loop."""


class _Names:
    """What the names of one module, class or function were bound to, and where they are read."""

    def __init__(self, node: ast.AST, outer: _Names | None) -> None:
        self.node, self.outer = node, outer
        self.bound: defaultdict[str, list[ast.AST | str]] = defaultdict(list)
        self.reads: defaultdict[str, list[ast.Name]] = defaultdict(list)
        self.grown: defaultdict[str, list[ast.AST]] = defaultdict(list)  # by `|=`, with what
        self.full: dict[str, str] = {}  # of names, what was found out already; so is the next
        self.is_set: dict[str, bool | None] = {}


class Parsed:
    """A parsed file, walked once and without recursion, however deep it is."""

    def __init__(self, tree: ast.Module) -> None:
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes: defaultdict[type[ast.AST], list[Any]] = defaultdict(list)  # those that rules look at, by type
        self.is_set_of_class: dict[tuple[ast.AST | None, str], bool | None] = {}  # of attributes, what was found out
        self._scopes: dict[ast.AST, _Names] = {}
        self._steps = 0
        self.module = _Names(tree, None)
        left: list[tuple[ast.AST, _Names]] = [(tree, self.module)]
        while left:
            node, scope = left.pop()
            kind = type(node)
            if kind in _SEEN:
                self.nodes[kind].append(node)
                self._scopes[node] = scope
                self._see(node, scope)
                scope = _Names(node, scope) if kind in _SCOPES else scope
            for field in node._fields:
                value = getattr(node, field)
                if isinstance(value, ast.AST):
                    self.parents[value] = node
                    left.append((value, scope))
                elif isinstance(value, list):
                    for child in value:
                        if isinstance(child, ast.AST):
                            self.parents[child] = node
                            left.append((child, scope))

    def _see(self, node: Any, scope: _Names) -> None:
        """Note what a node binds or reads."""
        if isinstance(node, ast.Name):
            parent = self.parents[node]
            if isinstance(node.ctx, ast.Load):
                scope.reads[node.id].append(node)
            elif isinstance(parent, _ASSIGNED):
                scope.bound[node.id].append(parent.value or _OPAQUE)
            elif not isinstance(parent, ast.AugAssign):
                scope.bound[node.id].append(_OPAQUE)
            elif isinstance(parent.op, ast.BitOr):
                scope.grown[node.id].append(parent.value)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                scope.bound[alias.asname or first].append(alias.name if alias.asname else first)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                scope.bound[alias.asname or alias.name].append(f"{'.' * node.level}{node.module or ''}.{alias.name}")
        elif isinstance(node, _DEFINITIONS):
            scope.bound[node.name].append(node)
        elif isinstance(node, _BOUND):
            for field in ("arg", "name", "rest"):
                if name := getattr(node, field, None):
                    scope.bound[name].append(_OPAQUE)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            for name in node.names:
                scope.bound[name].append(_OPAQUE)
                self.module.bound[name].append(_OPAQUE)

    @cached_property
    def of_self(self) -> Mapping[tuple[ast.AST | None, str], list[ast.AST]]:
        """What the attributes of each class's own objects are assigned: `self.x = value`."""
        found: defaultdict[tuple[ast.AST | None, str], list[ast.AST]] = defaultdict(list)
        for assign in (*self.nodes[ast.Assign], *self.nodes[ast.AnnAssign]):
            for target in assign.targets if isinstance(assign, ast.Assign) else [assign.target]:
                for part in self.walk(target):
                    if is_of_self(part) and isinstance(part.ctx, ast.Store):  # type: ignore[attr-defined]
                        value = (assign.value or _OPAQUE) if part is target else _OPAQUE
                        found[self.around(assign, ast.ClassDef), name_of(part)].append(value)
        return found

    def spend(self, steps: int) -> None:
        """Count what is looked at, and raise an UnreadableError if it is more than there should be."""
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise UnreadableError(f"to look at it takes more than {MOST_STEPS:,} steps")

    def walk(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield a node and all that is in it, and count them."""
        for part in ast.walk(node):
            self.spend(1)
            yield part

    def above(self, node: ast.AST) -> Iterator[tuple[Any, ast.AST]]:
        """Yield each ancestor, the nearest first, and its child on the way."""
        while (parent := self.parents.get(node)) is not None:
            yield parent, node
            node = parent

    def around(self, node: ast.AST, *kinds: type[ast.AST]) -> Any:
        """Return the nearest ancestor of one of these types, or None."""
        return next((parent for parent, _ in self.above(node) if isinstance(parent, kinds)), None)

    def home(self, name: ast.Name) -> _Names | None:
        """Return where a name is bound; None for one of Python's own."""
        start = self._scopes[name]
        scope: _Names | None = start
        while scope is not None and (
            name.id not in scope.bound or (scope is not start and isinstance(scope.node, ast.ClassDef))
        ):
            scope = scope.outer
        return scope

    def bindings(self, name: ast.Name) -> list[ast.AST | str]:
        """Return all that a name may stand for, expressions and full names; nothing for one of Python's own."""
        home = self.home(name)
        return [] if home is None else home.bound[name.id]

    def reads(self, name: ast.Name) -> list[ast.Name]:
        """Return where a name is read, in the scope that binds it."""
        return (self.home(name) or self._scopes[name]).reads[name.id]

    def value(self, node: ast.AST) -> ast.AST:
        """Return the expression or definition that a name was bound to, if it was once; any other node as it is."""
        for _ in range(_DEEPEST):
            found = self.bindings(node) if isinstance(node, ast.Name) else []
            if len(found) != 1 or not isinstance(found[0], ast.AST) or found[0] is _OPAQUE:
                break
            node = found[0]
        return node

    def full(self, node: ast.AST) -> str:
        """Return what an expression is called in full, "numpy.random.default_rng"; empty if that cannot be told."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        home, first = self.home(node), node.id
        if home is not None:
            if first not in home.full:
                home.full[first] = ""  # while it is looked for: `x = x.next` leads back to it
                names = {each if isinstance(each, str) else self.full(each) for each in home.bound[first]}
                home.full[first] = names.pop() if len(names) == 1 else ""
            first = home.full[first]
        return ".".join([first, *reversed(attributes)]) if first else ""

    def called(self, node: ast.AST) -> str:
        """Return the full name of what is called; empty if nothing is, or that cannot be told."""
        return self.full(node.func) if isinstance(node, ast.Call) else ""


def words(text: str) -> frozenset[str]:
    """Return the words of a text, as a table of names to look up."""
    return frozenset(text.split())


def is_of_self(node: ast.AST) -> bool:
    """Return whether an expression is an attribute of the object whose method it is in."""
    return isinstance(node, ast.Attribute) and name_of(node.value) == "self" and isinstance(node.value, ast.Name)


def name_of(node: ast.AST) -> str:
    """Return the last name of an expression that is one: "rng" of `self.rng`; empty if it is none."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
