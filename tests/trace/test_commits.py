"""Traces of two versions of the same code: what is computed is compared, not where its text stands."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deterministic import diff, record, reproducible
from deterministic.trace.comparing.diff import Diff
from deterministic.trace.comparing.reasons import Reason

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


def branching(other: str) -> str:
    """The program with two ways to multiply, each in a line of its own."""
    branch = f"loss.mul(2.0) if 'FLAG' not in os.environ else \\\n            {other}"
    return replaced(
        "import torch\n",
        "import os, torch\n",
        "loss = net(torch.randn(3, 4)).mul(2.0).sum()",
        f"loss = net(torch.ones(3, 4))\n        loss = {branch}\n        loss = loss.sum()",
    )


def taken(versions: Versions, other: str, monkeypatch: pytest.MonkeyPatch) -> Diff:
    """Compare a run that takes one of the ways with one that takes the other."""
    one = versions.trace(branching(other), "mine")
    with monkeypatch.context() as patch:
        patch.setenv("FLAG", "1")
        return diff(one, versions.trace(branching(other), "mine"))


def test_other_lines_of_one_file_are_another_path_if_their_values_differ(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    (verdict,) = taken(versions, "loss.mul(3.0)", monkeypatch).verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.CONTROL_FLOW
    assert verdict.cause.because.endswith("mine.py:19 in the first, mine.py:20 in the second")
    assert taken(versions, "loss.mul(2.0)", monkeypatch).outcome == "same"


def test_a_reworded_line_of_another_file_is_the_same_place(versions: Versions) -> None:
    text = branching("loss")
    (verdict,) = versions.diff(text, text.replace("loss.mul(2.0) if", "loss.mul(4.0) if")).verdicts
    assert verdict.cause is not None
    assert verdict.cause.reason is Reason.NUMBER


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


CHECKPOINTED = (
    "return self.down(self.up(x).relu())",
    "return torch.utils.checkpoint.checkpoint(lambda x: self.down(self.up(x).relu()), x, use_reentrant=False)",
)


def test_recomputing_hides_no_value(versions: Versions) -> None:
    (verdict,) = versions.diff(SOURCE, replaced(*CHECKPOINTED)).verdicts
    assert verdict.cause is not None
    assert verdict.cause.because.startswith("the second run computes a part of the forward pass again")
    assert "first value" not in dict(verdict.rows())
    (verdict,) = versions.diff(SOURCE, replaced(*CHECKPOINTED, "parameters(), 0.1", "parameters(), 0.2")).verdicts
    rows = dict(verdict.rows())
    assert "recomputing changes no value" in rows["next"]
    assert rows["first value"].startswith("state SGD before its first step")
    assert rows["what differs"].startswith("output lr of group 0")
