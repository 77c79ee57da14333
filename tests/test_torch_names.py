"""Every private name of torch's that the code writes is listed and there: a torch without one is told of by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch

from deterministic.errors import DeterministicError
from deterministic.ground import torch_names

from .processes import ROOT, run_python
from .versions import TORCH

PACKAGE = ROOT / "deterministic"
FILES = sorted(PACKAGE.rglob("*.py"))
NOT_ON_A_CLASS = {
    "_all_reduce_hook": "of each group of FSDP2's, distributed/torch_internals",
    "_asdict": "named tuples'",
    "_data_fetcher": "of Lightning's loops, tests/integrations/test_lightning_places",
    "_fields": "named tuples'",
    "_replace": "named tuples'",
    "_setupstate": "pytest's",
    "_should_check_val_fx": "of Lightning's loops, tests/integrations/test_lightning_places",
    "_fsdp_param_groups": "of each state of FSDP2's, distributed/torch_internals",
    "_index_queues": "of each iterator of a loader's, data/torch_internals",
    "_local_tensor": "DTensor's, asked for by hasattr",
    "_ragged_idx": "of each jagged tensor, tests/checkpoint/test_tensors",
    "_rcvd_idx": "of each iterator of a loader's, data/torch_internals",
    "_reduce_scatter_comm": "of each group of FSDP2's, distributed/torch_internals",
    "_sequence_nr": "of each node of autograd's",
}
TOLD_ELSEWHERE = {
    "torch._C._get_tracing_state": "scope.refusals, a moment at which nothing was touched yet",
    "torch.utils.data": "data/torch_internals, when loaders are imported",
}


def is_private(path: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") and part != "_C" for part in path.split("."))


def names_of(tree: ast.Module) -> Iterator[str]:
    """Return the private names of torch's that are reached by attributes, each from "torch" on."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known.update({one.asname or "torch": one.name if one.asname else "torch" for one in node.names
                          if one.name.partition(".")[0] == "torch"})  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "torch":
            known.update({one.asname or one.name: f"{node.module}.{one.name}" for one in node.names})
    for node in ast.walk(tree):
        parts: list[str] = []
        at: ast.AST = node
        while isinstance(at, ast.Attribute):
            parts.insert(0, at.attr)
            at = at.value
        if parts and isinstance(at, ast.Name) and at.id in known:
            path = ".".join([known[at.id], *parts])
            # What the import statement has fetched, it has told of.
            if is_private(path) and any(part.startswith("_") for part in parts):
                yield path.removesuffix(".__code__")


def private_attributes_of(tree: ast.Module) -> Iterator[str]:
    """Return the private attributes that are read of anything but modules that are no part of torch's."""
    modules = {one.asname or one.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import)
               for one in node.names if one.name.partition(".")[0] != "torch"}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr.startswith("_"):
            base = ast.unparse(node.value).partition(".")[0]
            if not node.attr.endswith("__") and base not in modules:
                yield node.attr


def own_names_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


LISTED = {f"torch.{name}" for names in torch_names.NEEDED.values() for name in names.split()}


@cache
def trees() -> Mapping[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


@cache
def own_names() -> set[str]:
    return {name for tree in trees().values() for name in own_names_of(tree)}


@pytest.fixture(scope="module")
def written() -> Mapping[str, str]:
    """Return the file of each private name."""
    return {name: file.name for file, tree in trees().items() for name in names_of(tree)}


def test_each_private_name_is_there_and_listed_or_told_of_when_its_part_is_imported(written: Mapping[str, str]) -> None:
    assert {name: file for name, file in written.items() if not torch_names._is_there(name)} == {}, torch.__version__
    listed = [f"{name}." for name in (*LISTED, *TOLD_ELSEWHERE)]
    unlisted = {name for name in written if not any(_is_part(f"{name}.", one) for one in listed)}
    assert {name: written[name] for name in unlisted} == {}


def _is_part(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def test_a_private_attribute_of_what_torch_makes_is_listed_too(written: Mapping[str, str]) -> None:
    read = {name: file for file, tree in trees().items() for name in private_attributes_of(tree)}
    known = own_names() | {part for name in [*LISTED, *written] for part in name.split(".")} | NOT_ON_A_CLASS.keys()
    assert {name: file.name for name, file in read.items() if name not in known} == {}
    assert NOT_ON_A_CLASS.keys() <= read.keys()


@pytest.mark.parametrize("name", sorted(LISTED))
def test_every_listed_name_is_there_and_used(name: str) -> None:
    if TORCH < (2, 13) and name.startswith("torch.distributed.fsdp."):
        pytest.skip("a sharded model is refused by name on this torch")
    assert torch_names._is_there(name)
    assert any(
        name.rpartition(".")[2] in file.read_text(encoding="utf-8") for file in FILES if file.name != "torch_names.py"
    )


def test_the_names_are_found_however_they_are_imported() -> None:
    text = "import torch\nimport torch._a as b\nfrom torch.c import d\ntorch._C._x()\nb._y\nd._z.w\ntorch.nn.Module\n"
    assert set(names_of(ast.parse(text))) >= {"torch._C._x", "torch._a._y", "torch.c.d._z.w"}
    assert "torch.nn.Module" not in set(names_of(ast.parse(text)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gone", "code"),
    [
        ("_set_cudnn_deterministic", "from deterministic import reproducible; reproducible().start()"),
        ("_push_on_torch_dispatch_stack", "from deterministic import verify"),
    ],
)
def test_a_name_that_is_gone_is_told_when_what_needs_it_is_imported(gone: str, code: str) -> None:
    told = run_python(
        f"import torch\ndel torch._C.{gone}\n"
        f"try:\n    {code}\nexcept ImportError as error:\n    print(type(error).__mro__[1].__name__, error)"
    )
    assert told.startswith(f"{DeterministicError.__name__} deterministic.")
    assert f"found: torch {torch.__version__} without torch._C.{gone}" in told
