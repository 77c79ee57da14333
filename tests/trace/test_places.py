"""The user's line, and how it is written."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from deterministic.trace.recording import places
from deterministic.trace.recording.places import Places, Spot

from .recorded import line_of, recorded


def test_the_innermost_line_of_the_user_s_is_found_from_within_torch_and_python() -> None:
    places, found = Places(), []

    class Inner(torch.nn.Module):
        def forward(self) -> None:
            found.append(places.here())  # here

    torch.nn.Sequential(Inner())._modules["0"]()
    sorted([1], key=lambda x: found.append(places.here()) or 0)  # type: ignore[func-returns-value]
    lines = [places.lines(spot) for spot in found]
    assert lines[0]["place"] == f"tests/trace/test_places.py:{line_of(Inner.forward, 'here')}"
    assert (lines[0]["function"], lines[0]["text"]) == ("forward", "found.append(places.here())  # here")
    assert lines[1]["function"] == "<lambda>"


def test_one_place_is_one_object_and_another_line_another() -> None:
    places, found = Places(), []
    for _ in range(2):
        found.append(places.here())
    assert found[0] is found[1]
    assert places.here() is not found[0]


def test_there_is_no_line_where_there_is_no_user() -> None:
    assert (Places().place(None), Places().lines(None)) == ("", {})


def spot_in(filename: str) -> Spot:
    code: CodeType = compile("f()", filename, "eval")
    return Spot(code, len(code.co_code) - 2)


def called_by(*filenames: str) -> dict[str, Any]:
    """The lines of a call through files of these names, the outermost first."""
    places, found = Places(), []

    def call(rest: Sequence[str]) -> None:
        if not rest:
            found.append(places.here())
            return
        exec(compile("call(rest)", rest[0], "exec"), {"call": call, "rest": rest[1:]})

    call.__code__ = call.__code__.replace(co_filename=torch.__file__)
    call(filenames)
    return places.lines(found[0])


def test_callers_are_kept_and_the_user_s_own_innermost_line_among_them() -> None:
    package = os.path.join(sysconfig.get_path("purelib"), "package")
    inside = [f"{package}/{letter}.py" for letter in "abcde"]
    near = called_by("/home/own.py", "/home/nearer.py", *inside[:1])
    assert (near["place"], [line[:1] for line in near["callers"][:2]]) == (
        "package/a.py:1",
        [("nearer.py:1",), ("own.py:1",)],
    )
    assert [line.is_own for line in near["callers"]][:2] == [True, False]
    far = called_by("/home/own.py", *inside)
    assert [line.place for line in far["callers"]] == ["package/d.py:1", "package/c.py:1", "own.py:1"]
    assert [line.is_own for line in far["callers"]] == [False, False, True]
    own = called_by(*inside, "/home/own.py")
    assert own["place"] == "own.py:1"
    assert not any(line.is_own for line in own["callers"])


class Passed(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        return super().__torch_function__(function, types, args, named)  # type: ignore[no-untyped-call] # passes on


class PassedByMode(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))  # passes on


class PassedBelow(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))  # passes on


@pytest.mark.parametrize(
    ("made", "mode"),
    [
        (lambda: torch.ones(2).as_subclass(Passed), nullcontext),
        (lambda: torch.ones(2), PassedByMode),
        (lambda: torch.ones(2), PassedBelow),
    ],
    ids=["subclass", "function mode", "dispatch mode"],
)
def test_what_passes_every_operation_on_is_shown_with_the_line_of_the_operation(
    made: Callable[[], torch.Tensor], mode: Callable[[], AbstractContextManager[Any]]
) -> None:
    def body() -> None:
        x = made()
        with mode():
            x.mul(2.0)

    site = recorded(body).one("mul").site
    assert site.text.endswith("# passes on")
    assert site.users_line.text == "x.mul(2.0)"


def test_one_line_that_is_called_from_two_is_two_places() -> None:
    places = Places()

    def helper() -> Spot | None:
        return places.here()

    one = helper()
    other = helper()
    assert one is not other
    assert places.place(one) == places.place(other)


def test_the_text_is_that_of_the_very_file_and_no_other_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "utils.py").write_text(f"x = '{folder}'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    monkeypatch.chdir(tmp_path / "other")
    lines = Places().lines(spot_in(str(tmp_path / "one" / "utils.py")))
    assert lines["text"] == "x = 'one'"
    assert Places().lines(spot_in("utils.py"))["text"] == ""
    without = Places(texts=False).lines(spot_in(str(tmp_path / "one" / "utils.py")))
    assert (without["text"], without["source"]) == ("", lines["source"])
    (tmp_path / "one" / "utils.py").write_text("x = 'edited'\n")
    again = Places().lines(spot_in(str(tmp_path / "one" / "utils.py")))
    assert again["text"] == "x = 'edited'"
    assert again["source"] != lines["source"]


def test_paths_are_relative_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = sysconfig.get_path("purelib")
    cases: dict[str, str] = {
        str(tmp_path / "a" / "train.py"): "a/train.py:1",
        os.path.join(site, "library", "part.py"): "library/part.py:1",
        "/somewhere/else/train.py": "train.py:1",
        "<stdin>": "<stdin>:1",
    }
    for filename, text in cases.items():
        assert Places().place(spot_in(filename)) == text
    assert Places(absolute=True).place(spot_in("/somewhere/else/train.py")) == "/somewhere/else/train.py:1"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (torch.nn.__file__, False),
        (os.__file__, False),
        ("<frozen importlib>", False),
        ("<eval_with_key>.3", False),
        ("<ipython-input-1-abc>", True),
        ("<stdin>", True),
        (os.path.join(sysconfig.get_path("purelib"), "transformers", "trainer.py"), True),
        (os.path.join(sysconfig.get_path("scripts"), "torchrun"), False),
        ("/home/somebody/train.py", True),
    ],
)
def test_whose_a_file_is(filename: Any, expected: bool) -> None:
    assert (places.kind_of(spot_in(filename).code) in (places._OTHERS, places._OWN)) is expected
