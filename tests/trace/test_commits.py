"""Traces of two versions of the same code: what is computed is compared, not where its text stands."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deterministic import diff, record, reproducible
from deterministic.trace.diff import Diff
from deterministic.trace.reasons import Reason

SOURCE = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.down = nn.Linear(8, 1)

    def forward(self, x):
        return self.down(self.up(x).relu())

def train():
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = net(torch.randn(3, 4)).mul(2.0).sum()
        loss.backward()
        optimizer.step()
    return loss
"""


class Versions:
    """Writes versions of a program, runs each and compares the traces."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def trace(self, text: str, name: str, function: str = "train", **how: Any) -> Path:
        folder = self._folder / str(len([*self._folder.iterdir()]))
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        train = getattr(loaded(folder / f"{name}.py"), function)
        with reproducible(seed=0), record(folder / "a.trace", **how) as recording:
            recording.observe("loss", train())
        return folder / "a.trace"

    def diff(self, one: str, other: str, *, name: str = "mine", function: str = "train", **how: Any) -> Diff:
        return diff(self.trace(one, "mine", **how), self.trace(other, name, function, **how))


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path)


def replaced(*pairs: str) -> str:
    text = SOURCE
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return text


MOVED: dict[str, tuple[str, dict[str, str]]] = {
    "a comment line above": (f"# a comment\n{SOURCE}", {}),
    "a renamed file": (SOURCE, {"name": "other"}),
    "a renamed function": (replaced("train", "fit"), {"function": "fit"}),
    "a renamed class": (replaced("Net", "Network"), {}),
    "a renamed variable": (replaced("loss", "error"), {}),
    "a line that was split": (replaced(".mul(2.0).sum()", ".mul(2.0)\n        loss = loss.sum()"), {}),
}


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize("name", MOVED)
def test_what_was_only_moved_or_renamed_is_the_same(versions: Versions, name: str, source: bool) -> None:
    text, how = MOVED[name]
    found = versions.diff(SOURCE, text, source=source, **how)
    assert (found.outcome, found.verdicts[0].comparison and found.verdicts[0].comparison.steps) == ("same", 2)


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize("how", [{}, {"name": "other"}])
def test_a_real_change_below_a_comment_line_is_found_with_each_side_s_own_line(
    versions: Versions, how: dict[str, str], source: bool
) -> None:
    found = versions.diff(SOURCE, "# one\n# two\n" + replaced("mul(2.0)", "mul(3.0)"), source=source, **how)
    (verdict,) = found.verdicts
    assert verdict.cause is not None
    assert (verdict.cause.reason, verdict.cause.because) == (
        Reason.NUMBER,
        "a Python number differed: other was 2.0 in the first run, 3.0 in the second",
    )
    rows = dict(verdict.rows())
    text = "   loss = net(torch.randn(3, 4)).mul({}).sum()" if source else ""
    assert rows["line"] == "mine.py:18 in train" + text.format("2.0")
    assert rows["other line"] == f"{how.get('name', 'mine')}.py:20 in train" + text.format("3.0")


def test_an_operation_that_one_version_has_more_is_found_by_the_text_of_its_line(versions: Versions) -> None:
    once = replaced(
        "loss = net(torch.randn(3, 4)).mul(2.0)", "loss = net(torch.ones(3, 4))\n        loss = loss.mul(2.0)"
    )
    twice = once.replace("loss.mul", "loss.mul(0.5)\n        loss = loss.mul")
    (verdict,) = versions.diff(once, f"# moved\n{twice}").verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.CONTROL_FLOW
    assert [text for name, text in verdict.rows() if name == "line"][:2] == [
        "mine.py:19 in train   loss = loss.mul(2.0).sum()",
        "mine.py:20 in train   loss = loss.mul(0.5)",
    ]


def test_other_lines_of_one_file_are_another_path_if_their_values_differ(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = "loss = net(torch.randn(3, 4)).mul(2.0).sum()"
    branch = "loss = net(torch.ones(3, 4))\n        loss = {}\n        loss = loss.sum()"
    for other, outcome in (("loss.mul(3.0)", "different"), ("loss.mul(2.0)", "same")):
        text = replaced(
            "import torch\n",
            "import os, torch\n",
            call,
            branch.format(f"loss.mul(2.0) if 'FLAG' not in os.environ else \\\n            {other}"),
        )
        one = versions.trace(text, "mine")
        with monkeypatch.context() as patch:
            patch.setenv("FLAG", "1")
            found = diff(one, versions.trace(text, "mine"))
        assert found.outcome == outcome
        if outcome == "different":
            assert found.verdicts[0].cause is not None
            assert found.verdicts[0].cause.because.endswith("mine.py:19 in the first, mine.py:20 in the second")
    (verdict,) = diff(one, versions.trace(text.replace("loss.mul(2.0) if", "loss.mul(4.0) if"), "mine")).verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.NUMBER  # another file: the same record, reworded


def test_the_first_aligned_value_is_told_behind_another_structure(versions: Versions) -> None:
    other = replaced(
        "loss = net(torch.randn(3, 4)).mul(2.0)", "torch.ones(1)\n        loss = net(torch.randn(3, 4)).mul(3.0)"
    )
    (verdict,) = versions.diff(SOURCE, other).verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.CONTROL_FLOW
    rows = dict(verdict.rows())
    assert rows["first value"].startswith("aten.mul.Tensor")
    assert verdict.as_data()["first_difference"]["aligned"][1]["text"] == "loss = net(torch.randn(3, 4)).mul(3.0).sum()"
