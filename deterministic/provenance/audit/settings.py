"""Settings of the process: variables that are read at its start, and flags of PyTorch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .names import Parsed
from .seeds import Found, is_fallback

_WELL_FORMED = re.compile(r"(:\d+:\d+)*")


def check_settings(source: Parsed) -> Found:
    """Find DET301 to DET304."""
    starts_again = any(source.called(call).startswith(("os.exec", "os.spawn")) for call in source.nodes[ast.Call])
    lent = {source.around(removed, ast.FunctionDef) for removed in _removals(source)} - {None}  # to a child process
    for node, variable, value in _variables(source):
        is_own = not isinstance(node, ast.Dict) and source.around(node, ast.FunctionDef) not in lent
        if variable == "PYTHONHASHSEED" and not starts_again and is_own:
            yield node, "DET301", "PYTHONHASHSEED is set in a running program"
        if variable == "CUBLAS_WORKSPACE_CONFIG" and isinstance(value, str) and not _WELL_FORMED.fullmatch(value):
            yield node, "DET302", f"CUBLAS_WORKSPACE_CONFIG is set to {value!r}"
    for assign in source.nodes[ast.Assign]:
        is_on = isinstance(assign.value, ast.Constant) and assign.value.value is True
        names = [source.full(target) for target in assign.targets]
        if is_on and "torch.backends.cudnn.benchmark" in names and not is_fallback(source, assign, "benchmark"):
            yield assign, "DET303", "cudnn.benchmark is switched on"
    yield from _left_on(source)


def _variables(source: Parsed) -> Iterator[tuple[ast.AST, object, object]]:
    """Yield where a variable of the environment is set, its name, and its value if that is written there."""
    for assign in source.nodes[ast.Assign]:
        for target in assign.targets:
            if isinstance(target, ast.Subscript) and source.full(target.value) == "os.environ":
                yield assign, _constant(target.slice), _constant(assign.value)
    for call in source.nodes[ast.Call]:
        full = source.called(call)
        if full in ("os.environ.setdefault", "os.putenv") and len(call.args) == 2:
            yield call, _constant(call.args[0]), _constant(call.args[1])
        elif full == "os.environ.update":
            yield from ((call, keyword.arg, _constant(keyword.value)) for keyword in call.keywords)
            displays = (argument for argument in call.args if isinstance(argument, ast.Dict))
            yield from ((call, _constant(key), None) for display in displays for key in display.keys)
    for display in source.nodes[ast.Dict]:
        for key, value in zip(display.keys, display.values, strict=True):
            yield display, _constant(key), _constant(value)


def _removals(source: Parsed) -> Iterator[ast.AST]:
    """Yield where PYTHONHASHSEED is deleted."""
    for part in source.nodes[ast.Delete]:
        for target in part.targets:
            if isinstance(target, ast.Subscript) and _constant(target.slice) == "PYTHONHASHSEED":
                yield part


def _constant(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _left_on(source: Parsed) -> Found:
    """Find tests in which the flag is switched on in a file that nowhere switches it off or sets it from a value."""
    calls = [call for call in source.nodes[ast.Call] if source.called(call) == "torch.use_deterministic_algorithms"]
    if all(call.args and _constant(call.args[0]) is True for call in calls):
        for call in calls:
            function = source.around(call, ast.FunctionDef)
            if function is not None and function.name.startswith("test_"):
                yield call, "DET304", f"{function.name} leaves deterministic algorithms on"
