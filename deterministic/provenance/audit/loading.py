"""Loaders: what their workers have copies of, and how they are seeded."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from .names import Parsed, name_of, words
from .seeds import Found

_MADE = words("numpy.random.default_rng numpy.random.RandomState random.Random torch.Generator")
_SEEDED = words("random.seed numpy.random.seed torch.manual_seed torch.random.manual_seed")
_PUT_BACK = ("seed", "manual_seed", "set_state", "setstate")
_NO_WORKERS = ast.Constant(0)


def check_loading(source: Parsed) -> Found:
    """Find DET401 and DET402."""
    for class_ in source.nodes[ast.ClassDef]:
        bases = (base.value if isinstance(base, ast.Subscript) else base for base in class_.bases)
        if any(name_of(base).endswith("Dataset") for base in bases):
            yield from _held(source, class_)
    functions: dict[ast.AST, None] = {}  # each once, in their order
    for call in source.nodes[ast.Call]:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        has_workers = None in given or getattr(given.get("num_workers", _NO_WORKERS), "value", ...) != 0
        if "worker_init_fn" in given and has_workers and "persistent_workers" not in given:
            functions[source.value(given["worker_init_fn"])] = None
    for function in functions:
        yield from _same_every_epoch(source, function)


def _held(source: Parsed, class_: ast.ClassDef) -> Found:
    """Find generators that `__init__` makes, that nothing sets anew, and that `__getitem__` comes to."""
    methods = {node.name: node for node in class_.body if isinstance(node, ast.FunctionDef)}
    if not {"__init__", "__getitem__"} <= methods.keys():
        return
    parts = {name: [*_of_self(source, method)] for name, method in methods.items()}
    made = parts.pop("__init__")
    reached, left = set(), ["__getitem__"]
    while left:
        if (name := left.pop()) in parts and name not in reached:
            reached.add(name)
            left.extend(part.attr for part in parts[name])
    uses: defaultdict[str, list[tuple[str, ast.Attribute]]] = defaultdict(list)
    for name, part in ((name, part) for name, some in parts.items() for part in some):
        uses[part.attr].append((name, part))
    for part in made:
        assign = source.parents[part]
        if not isinstance(assign, ast.Assign) or not any(
            source.called(each) in _MADE for each in source.walk(assign.value)
        ):
            continue
        same = uses[part.attr]
        is_set_anew = any(
            isinstance(other.ctx, ast.Store) or name_of(source.parents[other]) in _PUT_BACK for _, other in same
        )
        if any(name in reached for name, _ in same) and not is_set_anew:
            yield assign, "DET401", f"self.{part.attr} is made once, and each worker of a loader draws from a copy"


def _of_self(source: Parsed, function: ast.AST) -> Iterator[ast.Attribute]:
    for part in source.walk(function):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self":
            yield part


def _same_every_epoch(source: Parsed, function: ast.AST) -> Found:
    if isinstance(function, (ast.FunctionDef, ast.Lambda)):
        arguments = {argument.arg for argument in function.args.args}
        for call in source.walk(function):
            if isinstance(call, ast.Call) and source.called(call) in _SEEDED and call.args:
                parts = source.walk(call.args[0])
                if all(_is_fixed(source, part, arguments) for part in parts):
                    yield call, "DET402", "the workers of every epoch are seeded with the same number"


def _is_fixed(source: Parsed, part: ast.AST, arguments: set[str]) -> bool:
    """Whether a part of a seed is the same in every epoch: a number, the worker's, or a seed of the configuration."""
    if isinstance(part, ast.Name):
        is_plain = part.id in arguments or part.id in ("int", "self", "args", "cfg", "config")
        return is_plain or isinstance(source.value(part), ast.Constant)
    if isinstance(part, ast.Attribute):
        return part.attr == "seed"
    return isinstance(part, (ast.Constant, ast.BinOp, ast.operator, ast.expr_context, ast.Call))
