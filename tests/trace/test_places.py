"""The user's line, and how it is written."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch

from deterministic.trace.places import Places, Spot, is_users

from .recorded import line_of


def test_the_innermost_line_of_the_user_s_is_found_from_within_torch_and_python() -> None:
    places, found = Places(), []

    class Inner(torch.nn.Module):
        def forward(self) -> None:
            found.append(places.here())  # here

    torch.nn.Sequential(Inner())._modules["0"]()
    sorted([1], key=lambda x: found.append(places.here()) or 0)  # type: ignore[func-returns-value]
    assert places.text(found[0]) == (f"tests/trace/test_places.py:{line_of(Inner.forward, 'here')}", "forward")
    assert places.text(found[1])[1] == "<lambda>"


def test_one_place_is_one_object_and_another_line_another() -> None:
    places, found = Places(), []
    for _ in range(2):
        found.append(places.here())
    assert found[0] is found[1]
    assert places.here() is not found[0]


def test_there_is_no_line_where_there_is_no_user() -> None:
    assert Places().text(None) == ("", "")


def spot_in(filename: str) -> Spot:
    code: CodeType = compile("f()", filename, "eval")
    return Spot(code, len(code.co_code) - 2)


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
        assert Places().text(spot_in(filename))[0] == text
    assert Places(absolute=True).text(spot_in("/somewhere/else/train.py"))[0] == "/somewhere/else/train.py:1"


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
        ("/home/somebody/train.py", True),
    ],
)
def test_whose_a_file_is(filename: Any, expected: bool) -> None:
    assert is_users(filename) is expected
