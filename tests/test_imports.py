"""An act on a module at the moment at which its import has ended."""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from deterministic._imports import once_imported

from .processes import run_python


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of a module that has not been imported."""
    (tmp_path / "acted_on.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield "acted_on"
    sys.modules.pop("acted_on", None)
    assert sys.meta_path == before


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


@pytest.mark.parametrize("first", ["torch", "deterministic.sources", "deterministic._moments", "deterministic.testing"])
def test_whichever_is_imported_first_the_sources_are_complete(first: str) -> None:
    code = (
        "import importlib, sys\n"
        "from deterministic._imports import once_torch_imported\n"
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
        del sys.meta_path[0]
