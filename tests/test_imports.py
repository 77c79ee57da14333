"""An act on a module at the moment at which its import has ended."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deterministic.ground.imports import _FINDER, once_imported

from .processes import run_python


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of a module that has not been imported."""
    (tmp_path / "acted_on.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "acted_on"
    sys.modules.pop("acted_on", None)
    assert "acted_on" not in _FINDER.waiting


def test_it_comes_after_the_module_is_whole_and_once(module: str) -> None:
    seen: list[int] = []
    once_imported(module, lambda imported: seen.append(imported.VALUE))
    assert seen == []
    importlib.import_module(module)
    assert seen == [1]
    importlib.reload(sys.modules[module])
    assert seen == [1]


def test_it_comes_at_once_where_the_module_is_there(module: str) -> None:
    importlib.import_module(module)
    seen: list[ModuleType] = []
    once_imported(module, seen.append)
    assert seen == [sys.modules[module]]


def test_the_module_is_what_it_is_without(module: str) -> None:
    plain = importlib.import_module(module)
    kind, source, path = (
        type(plain.__loader__),
        inspect.getsource(plain),
        plain.__spec__.origin if plain.__spec__ else 0,
    )
    del sys.modules[module]
    once_imported(module, lambda _: None)
    found = importlib.import_module(module)
    assert found.__spec__ is not None
    assert (type(found.__loader__), inspect.getsource(found), found.__spec__.origin) == (kind, source, path)
    assert "exec_module" not in vars(found.__loader__)


def test_several_wait_beside_each_other(module: str, tmp_path: Path) -> None:
    (tmp_path / "another.py").write_text("import acted_on\n")
    seen: list[str] = []
    for name in ("another", module):
        once_imported(name, lambda imported: seen.append(imported.__name__))
    importlib.import_module("another")
    assert seen == [module, "another"]
    del sys.modules["another"]


def test_an_import_that_fails_is_tried_again(module: str, tmp_path: Path) -> None:
    (tmp_path / "acted_on.py").write_text("import sys\nif not hasattr(sys, 'ready'): raise ImportError('not yet')\n")
    seen: list[ModuleType] = []
    once_imported(module, seen.append)
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module(module)
    assert seen == []
    sys.ready = True  # type: ignore[attr-defined]
    try:
        importlib.import_module(module)
    finally:
        del sys.ready  # type: ignore[attr-defined]
    assert seen == [sys.modules[module]]


def test_another_thread_may_import_it(module: str) -> None:
    seen: list[ModuleType] = []
    once_imported(module, seen.append)
    threads = [threading.Thread(target=importlib.import_module, args=(module,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [sys.modules[module]]


@pytest.mark.parametrize(
    "first", ["torch", "deterministic.sources", "deterministic.sources.settings", "deterministic.testing"]
)
def test_whichever_is_imported_first_the_sources_are_complete(first: str) -> None:
    code = (
        "import importlib, sys\n"
        "from deterministic.ground.imports import once_torch_imported\n"
        "seen = []\n"
        "once_torch_imported(lambda sources: seen.append((len(sources.SOURCES) > 20, 'torch' in sys.modules)))\n"
        f"importlib.import_module({first!r})\n"
        "once_torch_imported(lambda sources: seen.append(sources.__name__))\n"
        "print(seen)"
    )
    assert run_python(code) == "[(True, True), 'deterministic.sources']"


def test_what_is_not_there_is_still_not_found() -> None:
    once_imported("there_is_no_such_module", lambda _: None)
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("there_is_no_such_module")
    finally:
        del _FINDER.waiting["there_is_no_such_module"]


class Shared(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A finder that is the loader of all it finds, as pytest's and zipimport's are."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name in self.sources else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.sources[module.__name__], module.__dict__)


@pytest.fixture
def shared() -> Iterator[Shared]:
    finder = Shared({"shared_outer": "import shared_inner\nLOADER = __loader__\n", "shared_inner": "X = 1\n"})
    sys.meta_path.insert(0, finder)
    yield finder
    sys.meta_path.remove(finder)
    for name in finder.sources:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("waited_for", [("shared_outer",), ("shared_inner",), ("shared_inner", "shared_outer")])
def test_a_loader_that_serves_several_modules_is_not_touched(waited_for: tuple[str, ...], shared: Shared) -> None:
    seen: list[tuple[str, bool]] = []
    for name in waited_for:
        once_imported(name, lambda module: seen.append((module.__name__, {"X", "LOADER"}.isdisjoint(vars(module)))))
    before = dict(vars(shared))
    outer = importlib.import_module("shared_outer")
    assert seen == [(name, False) for name in waited_for], "each module is whole, and it is the right one"
    assert vars(shared) == before
    assert outer.LOADER is outer.__loader__ is shared, "as it is without, also while the module executes"
    assert outer.__spec__ is not None
    assert outer.__spec__.loader is shared


def test_several_that_wait_for_one_module_all_get_it_in_their_order(module: str) -> None:
    seen: list[str] = []
    once_imported(module, lambda _: seen.append("first"))
    once_imported(module, lambda _: seen.append("second"))
    importlib.import_module(module)
    assert seen == ["first", "second"]


def test_a_spec_that_somebody_looks_for_without_importing_it_acts_on_nothing(module: str) -> None:
    seen: list[ModuleType] = []
    once_imported(module, seen.append)
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    assert "VALUE" in (spec.loader.get_source(module) or "")  # type: ignore[attr-defined]
    assert seen == []
    importlib.import_module(module)
    assert len(seen) == 1


def test_a_folder_without_an_init_is_still_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    seen: list[ModuleType] = []
    once_imported("only_a_folder", seen.append)
    try:
        assert [*importlib.import_module("only_a_folder").__path__] == [str(tmp_path / "only_a_folder")]
    finally:
        del sys.modules["only_a_folder"]
        _FINDER.waiting.pop("only_a_folder")


def test_a_module_of_a_script_that_is_called_torch_is_not_taken_for_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("NAME = 'mine'\n")
    code = (
        "import sys\n"
        "from deterministic.ground.imports import once_torch_imported\n"
        "once_torch_imported(lambda sources: print('acted'))\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import torch\n"
        "print(torch.NAME)"
    )
    assert run_python(code) == "mine"
