"""What type checkers see: decorators keep the signature, wrong use is an error, every public name is checked."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import deterministic
import deterministic.errors
import deterministic.testing

from .processes import ROOT

pytest.importorskip("mypy", reason="mypy is in the extra `typing`")

EXAMPLES = ROOT / "tests" / "typing_examples.py"

# A line says what mypy reveals ("# R: ...") or the code of its error ("# E: ..."); on all others it must be silent.
SNIPPET = """
from __future__ import annotations
from collections.abc import AsyncIterator, Generator
from typing import TypeVar, overload
from deterministic import current_run, derive_seed, make_loader, reproducible, seed_everything

T = TypeVar("T")

@reproducible
def bare(x: int) -> str: return ""
@reproducible(seed=3)
def called(x: int, *, y: float = 1.0) -> str: return ""
@reproducible()
def empty(x: int) -> str: return ""
@reproducible
def generic(x: T) -> list[T]: return [x]
@reproducible
async def coroutine(x: int) -> str: return ""
@reproducible(seed=3)
def generator(x: int) -> Generator[int, str, bytes]:
    yield 1
    return b""
@reproducible
async def async_generator(x: int) -> AsyncIterator[int]: yield 1

class Model:
    @reproducible
    def method(self, x: int) -> str: return ""
    @reproducible(seed=1)
    @classmethod
    def outside_class(cls, x: int) -> str: return ""
    @classmethod
    @reproducible
    def inside_class(cls, x: int) -> str: return ""
    @reproducible
    @staticmethod
    def outside_static(x: int) -> str: return ""
    @staticmethod
    @reproducible(seed=3)
    def inside_static(x: int) -> str: return ""
    @property
    @reproducible
    def length(self) -> int: return 1

reveal_type(bare)  # R: def (x: int) -> str
reveal_type(called)  # R: def (x: int, *, y: float =) -> str
reveal_type(empty)  # R: def (x: int) -> str
reveal_type(generic(1))  # R: list[int]
reveal_type(coroutine)  # R: def (x: int) -> typing.Coroutine[Any, Any, str]
reveal_type(generator)  # R: def (x: int) -> typing.Generator[int, str, bytes]
reveal_type(async_generator)  # R: def (x: int) -> typing.AsyncIterator[int]
reveal_type(Model().method)  # R: def (x: int) -> str
reveal_type(Model.outside_class)  # R: def (x: int) -> str
reveal_type(Model.inside_class)  # R: def (x: int) -> str
reveal_type(Model.outside_static)  # R: def (x: int) -> str
reveal_type(Model.inside_static)  # R: def (x: int) -> str
reveal_type(Model().length)  # R: int
reveal_type(reproducible(3))  # R: deterministic.scope.request.Scope
reveal_type(reproducible.from_config({}))  # R: deterministic.scope.request.Scope
reveal_type(reproducible(3).start())  # R: deterministic.scope.run.Run
reveal_type(current_run().seed)  # R: int | None

with reproducible(3) as run:
    reveal_type(run)  # R: deterministic.scope.run.Run
    reveal_type(run.derive("a", 1))  # R: int

def returns() -> int:
    with reproducible(3):
        return 1

bare("x")  # E: arg-type
called(1, 2)  # E: call-arg
called(x=1, z=2)  # E: call-arg
reproducible(sed=1)  # E: call-overload
reproducible("3")  # E: call-overload
reproducible(3.0)  # E: call-overload
reproducible(3, False)  # E: call-overload
reproducible(deterministic="yes")  # E: call-overload
reproducible(deterministic=None)  # E: call-overload
reproducible(on_conflict="queue")  # E: call-overload
reproducible(num_threads="2")  # E: call-overload
reproducible(generators=3)  # E: call-overload
reproducible(bare, seed=3)  # E: call-overload
reproducible.from_config(3)  # E: arg-type
reproducible(3).sed  # E: attr-defined
run.seed = 3  # E: misc
run.derive(1.5)  # E: arg-type
derive_seed("42")  # E: arg-type
derive_seed(42, None)  # E: arg-type
seed_everything(1, True)  # E: call-arg
seed_everything()  # E: call-arg
make_loader([1], seed="3")  # E: call-overload
make_loader([1], seed=3, randomness="samples")  # E: call-overload
with reproducible: pass  # E: attr-defined
reproducible.start()  # E: attr-defined
"""
LINES = SNIPPET.splitlines()
EXPECTED = {
    number: tuple(marker.groups())
    for number, line in enumerate(LINES, 1)
    if (marker := re.search("# ([RE]): (.+)", line))
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[str, str]]:
    """What mypy says of each line of the snippet; torch and numpy are not followed, which takes seconds.

    In a process of its own: what it leaves is millions of objects that every later collection of garbage would visit.
    """
    folder: Path = tmp_path_factory.mktemp("typing")
    (folder / "snippet.py").write_text(SNIPPET)
    (folder / "mypy.ini").write_text(
        f"[mypy]\nstrict = True\nmypy_path = {ROOT}\ncache_dir = {folder / 'cache'}\npython_version = 3.10\n"
        "[mypy-deterministic.*]\nfollow_imports = silent\n"
        "[mypy-torch.*,numpy.*,wrapt.*,yaml.*]\nfollow_imports = skip\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(folder / "mypy.ini"), str(folder / "snippet.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.stderr, done.stderr
    messages: dict[int, tuple[str, str]] = {}
    for number, kind, text in re.findall(r"snippet\.py:(\d+): (error|note): (.*)", done.stdout):
        revealed = re.fullmatch('Revealed type is "(.*)"', text)
        if revealed:
            messages[int(number)] = ("R", revealed[1].replace("builtins.", ""))
        elif kind == "error":
            messages[int(number)] = ("E", text.rpartition("[")[2].rstrip("]"))
    return messages


@pytest.mark.parametrize("number", EXPECTED, ids=[LINES[number - 1].partition("  #")[0].strip() for number in EXPECTED])
def test_mypy_sees(number: int, found: dict[int, tuple[str, str]]) -> None:
    assert found.get(number) == EXPECTED[number]


def test_mypy_has_nothing_to_say_of_the_other_lines(found: dict[int, tuple[str, str]]) -> None:
    assert {number: LINES[number - 1] for number in found.keys() - EXPECTED.keys()} == {}


def names_used(text: str) -> set[str]:
    """Return the names that are used, not only imported."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("module", [deterministic, deterministic.errors, deterministic.testing])
def test_every_public_name_is_in_use_in_a_checked_file(module: object) -> None:
    public: list[str] = getattr(module, "__all__")  # noqa: B009 - modules of different types
    assert set(public) - names_used(EXAMPLES.read_text()) == set()


def test_a_name_that_is_only_imported_is_noticed() -> None:
    assert names_used("from a import b, c\nc()") == {"c"}


def test_the_examples_are_among_the_files_that_mypy_checks_strictly() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["mypy"]["strict"] == "True"
    assert "tests" in re.split(r"[\s,]+", setup["mypy"]["files"])
    assert (ROOT / "deterministic" / "py.typed").exists()
