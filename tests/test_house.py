"""The rules of the house hold, and each one is shown to notice what breaks it."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deterministic
import deterministic.errors
import deterministic.testing
from deterministic.scope.request import Scope
from deterministic.scope.run import Run

from . import house
from .processes import ROOT, run_python


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


LIBRARY = {module_name(path): path.read_text() for path in sorted((ROOT / "deterministic").rglob("*.py"))}
FILES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("deterministic", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
PAGES = {str(path): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
HEAVY = ("torch", "numpy", "wrapt")


def in_every(files: dict[str, str], rule: Callable[..., list[str]], *more: Any) -> list[str]:
    return [broken for name, text in files.items() for broken in rule(name, text, *more)]


def test_imports_point_downwards() -> None:
    assert in_every(LIBRARY, house.upward_imports, LIBRARY) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert house.circle(LIBRARY) == []


def test_every_level_belongs_to_a_module() -> None:
    assert house.LEVELS.keys() == {house.top_of(module) for module in LIBRARY}


def test_sources_do_not_import_each_other() -> None:
    assert in_every(LIBRARY, house.sibling_imports, LIBRARY) == []


def test_every_all_is_sorted() -> None:
    assert in_every(LIBRARY, house.unsorted_all) == []


def test_no_file_is_too_long() -> None:
    assert in_every(FILES, house.too_long) == []


def test_the_library_neither_prints_nor_asserts() -> None:
    assert in_every(LIBRARY, house.prints_and_asserts) == []


def test_no_type_is_named_twice() -> None:
    assert house.named_twice(LIBRARY) == []


def test_every_public_name_is_in_the_documentation() -> None:
    modules = (deterministic, deterministic.errors, deterministic.testing)
    names = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    assert house.undocumented(names, PAGES) == []


@pytest.mark.parametrize("name", deterministic.__all__)
def test_the_docstring_of_a_public_name_is_complete(name: str) -> None:
    called = Scope.__init__ if name == "reproducible" else None  # its own __call__ has **options
    assert house.incomplete_docstrings(name, getattr(deterministic, name), called) == []


def test_each_public_name_has_a_home_and_the_type_checkers_know_the_same_ones() -> None:
    assert list(deterministic._HOMES) == deterministic.__all__
    typed = {
        alias.name: f".{node.module}"
        for node in ast.walk(ast.parse(LIBRARY["deterministic"]))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert typed == deterministic._HOMES


@pytest.mark.parametrize("module", [deterministic, deterministic.errors, deterministic.testing])
def test_what_is_exported_is_there(module: Any) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'deterministic' has no attribute 'reproducable'"):
        _ = deterministic.reproducable


def imported_by(code: str) -> set[str]:
    return set(run_python(f"{code}\nimport sys; print(*sys.modules)").split()) & set(HEAVY)


def test_importing_the_library_is_light() -> None:
    code = "import deterministic, deterministic.errors, deterministic.ground.config; deterministic.derive_seed(1, 'a')"
    assert imported_by(code) == set()


def test_no_public_name_brings_torch_s_compiler() -> None:
    """It takes more than a second, and from then on scopes save inductor's options."""
    code = "import deterministic, torch\nfor name in deterministic.__all__:\n    getattr(deterministic, name)"
    names = run_python(f"{code}\nimport sys; print(*sys.modules)").split()
    assert "deterministic.checkpoint.checkpoint" in names
    assert "torch._dynamo" not in names


# From here on: each rule notices what breaks it.


def test_a_heavy_import_is_noticed() -> None:
    assert imported_by("import numpy") == {"numpy"}


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("deterministic.errors", "from .ground import seeds"),
        ("deterministic.errors", "from .scope.stack import enter"),
        ("deterministic.errors", "import deterministic.scope.stack as stack"),
        ("deterministic.errors", "def f():\n    from deterministic.scope.run import Run"),
        ("deterministic.errors", "import numpy"),
        ("deterministic.ground.seeds", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch.nn"),
        ("deterministic.ground.snapshot", "from ..sources.base import digest"),
        ("deterministic.sources.inductor", "from ..scope.stack import enter"),
        ("deterministic.sources.inductor", "from ..cli import main"),
        ("deterministic.trace.file.store", "from ..recording.record import record"),
        ("deterministic.trace.recording.record", "from ..comparing import diff"),
        ("deterministic.scope.run", "from ..cli import main"),
        ("deterministic.scope.run", "from .. import describe"),
        ("deterministic.data.loader", "from ..testing import check_source"),
        ("deterministic", "from .cli import main"),
        ("deterministic.unheard_of", ""),
        ("deterministic.scope.run", "from .. import unheard_of"),
    ],
)
def test_an_upward_import_is_noticed(module: str, text: str) -> None:
    known = {*LIBRARY, "deterministic.unheard_of"}
    assert len(house.upward_imports(module, text, known)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("deterministic.errors", "import sys\nfrom __future__ import annotations"),
        ("deterministic.ground.seeds", "from ..errors import explain"),
        ("deterministic.ground.ranks", "def ranks():\n    import torch"),
        ("deterministic.sources.inductor", "from ..ground.config import Config\nfrom .base import digest"),
        ("deterministic.cli._demo.runs", "from ... import describe\nfrom ...ground.seeds import derive_seed"),
        ("deterministic.scope.reproducible", "from . import stack"),
        ("deterministic.trace.comparing.diff", "from ..recording.log import Log"),
    ],
)
def test_a_downward_import_is_none(module: str, text: str) -> None:
    assert house.upward_imports(module, text, LIBRARY) == []


def test_a_circle_is_noticed() -> None:
    closing = "if TYPE_CHECKING:\n    from .ground.config import Config\n"
    assert house.circle({**LIBRARY, "deterministic.errors": closing})


@pytest.mark.parametrize(
    "text",
    [
        "from .settings import Mkldnn",
        "from . import settings",
        "from . import SOURCES",
        "from ..sources.registry import register_source",
        "import deterministic.sources.settings",
        "def f():\n    from .registry import check_source",
    ],
)
def test_a_source_that_imports_another_is_noticed(text: str) -> None:
    assert len(house.sibling_imports("deterministic.sources.inductor", text, LIBRARY)) == 1


@pytest.mark.parametrize(
    "module", ["deterministic.sources.registry", "deterministic.sources", "deterministic.scope.run"]
)
def test_what_stands_on_the_sources_may_import_them(module: str) -> None:
    prefix = "." if module.startswith("deterministic.sources") else "..sources."
    assert house.sibling_imports(module, f"from {prefix}base import Source", LIBRARY) == []
    assert house.sibling_imports(module, "import deterministic.sources.settings", LIBRARY) == []


@pytest.mark.parametrize(("names", "broken"), [('["a", "b"]', 0), ('["b", "a"]', 1), ('["a", "a"]', 1)])
def test_an_unsorted_all_is_noticed(names: str, broken: int) -> None:
    assert len(house.unsorted_all("module", f"import x\n__all__ = {names}\n")) == broken


def test_a_long_file_is_noticed() -> None:
    assert house.too_long("file", "x\n" * house.LONGEST_FILE) == []
    assert house.too_long("file", "x\n" * 401) == ["file: 401 lines"]


def test_prints_and_asserts_are_noticed() -> None:
    text = "def f():\n    assert 1\n    print(2)\n"
    assert house.prints_and_asserts("deterministic.scope.run", text) == [
        "deterministic.scope.run:2 asserts",
        "deterministic.scope.run:3 prints",
    ]
    assert house.prints_and_asserts("deterministic.cli.demo", text) == ["deterministic.cli.demo:2 asserts"]
    assert house.prints_and_asserts("deterministic.scope.run", '"""print(3), assert"""') == []


@pytest.mark.parametrize("text", ["class _Steps: ...", "Steps: TypeAlias = list[int]", "Steps = list[int]"])
def test_a_type_that_is_named_twice_is_noticed(text: str) -> None:
    other = 'P = ParamSpec("P")\nT_co = TypeVar("T_co")\nLEVELS = ("a",)\nsteps = []\n'
    files = {"one": f"{other}class Steps: ...", "two": f"{other}{text}\nclass Step: ..."}
    assert house.named_twice(files) == ["Steps: one, two"]
    assert house.named_twice({"one": f"{text}\n{text}", "two": other}) == []


def test_a_name_without_documentation_is_noticed() -> None:
    pages = {
        "one": "`deterministic.seed` is not enough\n.. autofunction:: deterministic.describe() -> None\n",
        "two": "text\n.. autoclass:: deterministic.Run\n   :members:\n.. autofunction:: deterministic.seed_worker",
    }
    names = ["deterministic.Run", "deterministic.describe", "deterministic.seed", "deterministic.seed_worke"]
    assert house.undocumented(names, pages) == ["deterministic.seed", "deterministic.seed_worke"]


def without_arguments_section(first: int, second: int) -> None:
    """Do it."""


def with_a_missing_argument(first: int, second: int) -> None:
    """Do it.

    Args:
        first: One.

    Returns:
        second: not an argument.
    """


def that_raises(first: int) -> None:
    """Do it.

    Args:
        first: One.
    """
    raise ValueError


class WithMethods:
    """Has methods."""

    def method(self, first: int) -> None:
        """Do it."""

    def _private(self, first: int) -> None: ...


def test_an_incomplete_docstring_is_noticed() -> None:
    missing = ["f: first is not under Args:", "f: second is not under Args:"]
    assert house.incomplete_docstrings("f", without_arguments_section) == missing
    assert house.incomplete_docstrings("f", with_a_missing_argument) == missing[1:]
    assert house.incomplete_docstrings("f", that_raises) == ["f: raises, and has no Raises:"]
    assert house.incomplete_docstrings("C", WithMethods) == ["C.method: first is not under Args:"]
    assert house.incomplete_docstrings("f", house.level_of) == ["f: module is not under Args:"]
    assert house.incomplete_docstrings("Run", Run) == []


def test_the_rules_see_every_file() -> None:
    assert {"deterministic", "deterministic.scope.run", "deterministic.sources.base"} <= LIBRARY.keys()
    assert {"deterministic/scope/run.py", "tests/test_house.py", "tests/sources/test_settings.py"} <= FILES.keys()
    assert sys.modules["deterministic"] is deterministic


def test_what_the_reference_names_is_there() -> None:
    names = re.findall(r"^\.\. auto[a-z]+:: ([\w.]+)", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert "deterministic.sources.base.Source" in names
    run_python(f"import pkgutil\nfor name in {names}: pkgutil.resolve_name(name)")


def test_what_the_tests_beside_other_libraries_import_is_listed_and_not_only_brought_by_others() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["install_requires"] + "".join(setup["options.extras_require"].values())
    names = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in listed.split("\n")}
    contract = {name: text for name, text in FILES.items() if name.startswith("tests/integrations/contract/")}
    imported = {
        name.partition(".")[0]
        for text in contract.values()
        for node in ast.parse(text).body
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")])
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    }
    assert "scipy" in imported
    others = imported - sys.stdlib_module_names - {"deterministic"}
    assert {{"cv2": "opencv_python_headless"}.get(name, name) for name in others} - names == set()
