"""The house rules, as functions from source text to what breaks them; `test_house.py` applies them."""

from __future__ import annotations

import ast
import graphlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

LEVELS: dict[str, int] = {
    "errors": 0,
    "ground": 1,
    "provenance.audit": 1,
    "values": 2,
    "sources": 2,
    "provenance": 3,
    "trace.file": 3,
    "trace.recording": 4,
    "trace.comparing": 5,
    "trace": 5,
    "scope": 6,
    "data": 7,
    # The public names, and what stands on them.
    "": 9,
    "checkpoint": 8,
    "distributed": 8,
    "testing": 8,
    "verification": 9,
    "__main__": 10,
    "cli": 10,
    "integrations": 10,
    "ipython": 10,
    "pytest_plugin": 10,
}
"""The level of each module and package; an import points to the same level or a lower one."""

COMMON_SOURCES = {"base"}
SOURCES_OF_SOURCES = {"", "registry"}
LONGEST_FILE = 400


def top_of(module: str) -> str:
    """Return the part of a full name that stands in the table: "sources" of "deterministic.sources.base"."""
    parts = [*module.split("."), "", ""]
    return max(
        (".".join(parts[1:end]) for end in (2, 3) if ".".join(parts[1:end]) in LEVELS), key=len, default=parts[1]
    )


def level_of(module: str) -> int | None:
    """Return the level of "deterministic.sources.base"; None if it is not in the table."""
    return LEVELS.get(top_of(module))


def imports(module: str, text: str, known: Iterable[str], *, at_import: bool = False) -> Iterator[str]:
    """Yield the full name of each module that `module` imports, wherever the statement is.

    Args:
        module: Its full name; that of a package for an `__init__`.
        text: Its source.
        known: Every module and package of the library, to tell a module from a name in one.
        at_import: Leave out what stands in functions, and so is imported when they are called.
    """
    known = set(known)
    is_package = any(other.startswith(f"{module}.") for other in known)
    for node in _nodes(ast.parse(text), functions=not at_import):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*parts, *filter(None, [origin])])
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                yield full if full in known else origin


def _nodes(node: ast.AST, *, functions: bool) -> Iterator[ast.AST]:
    yield node
    if functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for child in ast.iter_child_nodes(node):
            yield from _nodes(child, functions=functions)


def upward_imports(module: str, text: str, known: Iterable[str]) -> list[str]:
    """Return the imports of a higher level, of a module without one, and at the import of plain facts of others' code.

    Plain facts are levels 0 and 1: importing them loads nothing but Python's own library.
    """
    own = level_of(module)
    if own is None:
        return [f"{module} has no level"]
    broken = [
        f"{module} imports {imported} when it is imported"
        for imported in imports(module, text, known, at_import=True)
        if own <= 1 and imported.split(".")[0] not in {"deterministic", *sys.stdlib_module_names}
    ]
    for imported in imports(module, text, known):
        level = level_of(imported)
        if imported.split(".")[0] == "deterministic" and (level is None or level > own):
            broken.append(f"{module} (level {own}) imports {imported} (level {level})")
    return broken


def circle(modules: Mapping[str, str]) -> list[str]:
    """Return modules that import each other in a circle, the first one again as the last; none if there is none.

    Imports in functions and for type checkers count. An import of a package, for its `__init__`, is none of what is in
    it.
    """
    imported = {name: {*imports(name, text, modules)} & modules.keys() - {name} for name, text in modules.items()}
    try:
        graphlib.TopologicalSorter(imported).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def sibling_imports(module: str, text: str, known: Iterable[str]) -> list[str]:
    """Return the imports of one source by another."""
    prefix = "deterministic.sources"
    if not module.startswith(f"{prefix}.") or module.removeprefix(f"{prefix}.") in SOURCES_OF_SOURCES:
        return []
    return [
        f"{module} imports {imported}"
        for imported in imports(module, text, known)
        if imported == prefix or (imported.startswith(f"{prefix}.") and imported.split(".")[2] not in COMMON_SOURCES)
    ]


def unsorted_all(module: str, text: str) -> list[str]:
    """Return what is wrong with `__all__`, where there is one."""
    broken = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            names = ast.literal_eval(node.value)
            if names != sorted(set(names)):
                broken.append(f"{module}: __all__ is not sorted, or names something twice")
    return broken


def too_long(name: str, text: str) -> list[str]:
    """Return the file if it is too long."""
    lines = len(text.splitlines())
    return [f"{name}: {lines} lines"] if lines > LONGEST_FILE else []


def prints_and_asserts(module: str, text: str) -> list[str]:
    """Return the calls of print and the assert statements; the command line may print."""
    broken = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            broken.append(f"{module}:{node.lineno} asserts")
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "print"
            and top_of(module) not in {"cli", "__main__"}
        ):
            broken.append(f"{module}:{node.lineno} prints")
    return broken


def undocumented(names: Iterable[str], pages: Mapping[str, str]) -> list[str]:
    """Return the full names that no page has an `autofunction`, `autoclass` or the like for."""
    found = re.findall(r"^\.\. auto[a-z]+:: ([\w.]+)", "\n".join(pages.values()), re.MULTILINE)
    return sorted(set(names) - set(found))


def named_twice(files: Mapping[str, str]) -> list[str]:
    """Return the names of classes and type aliases that stand in two modules; underscores before them do not count."""
    homes: dict[str, list[str]] = {}
    for module, text in files.items():
        for name in dict.fromkeys(name.lstrip("_") for name in _types(text)):
            homes.setdefault(name, []).append(module)
    return [f"{name}: {', '.join(modules)}" for name, modules in homes.items() if len(modules) > 1]


def _types(text: str) -> Iterator[str]:
    """Yield the names of the classes and aliases of a module; one that is not declared is known by how it is spelt."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).endswith("TypeAlias"):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call):
            yield from re.findall(r"^_*[A-Z]\w*[a-z]\w*$", ast.unparse(node.targets[0]))


def incomplete_docstrings(name: str, thing: Any, called: Any = None) -> list[str]:
    """Return what the docstring of a public function lacks, or those of the public methods of a class.

    Every argument stands under "Args:", and an exception raised in the body itself needs "Raises:".

    Args:
        name: Its name.
        thing: What has the docstring.
        called: The function that has its arguments, if that is another.
    """
    called = called or thing
    if inspect.isclass(thing):
        return [
            line
            for method, function in vars(thing).items()
            if inspect.isfunction(function) and not method.startswith("_")
            for line in incomplete_docstrings(f"{name}.{method}", function)
        ]
    text = inspect.getdoc(thing) or ""
    arguments = [argument for argument in inspect.signature(called).parameters if argument != "self"]
    sections = dict(re.findall(r"^(Args|Raises):\n((?:(?: .*)?\n?)+)", text, re.MULTILINE))
    broken = [f"{name}: no docstring"] if not text else []
    broken += [
        f"{name}: {argument} is not under Args:"
        for argument in arguments
        if not re.search(rf"^ +{argument}:", sections.get("Args", ""), re.MULTILINE)
    ]
    body = ast.parse(textwrap.dedent(inspect.getsource(called)))
    if any(isinstance(node, ast.Raise) for node in ast.walk(body)) and "Raises" not in sections:
        broken.append(f"{name}: raises, and has no Raises:")
    return broken
