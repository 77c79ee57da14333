"""`deterministic diff`: 0 the same, 1 different, 2 could not tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deterministic import record
from deterministic.cli import main


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, number in (("a", 1.0), ("same", 1.0), ("other", 2.0)):
        with record(f"{name}.trace") as trace:
            trace.observe("sum", torch.full((3,), number).sum())
    (tmp_path / "cut.trace").write_bytes((tmp_path / "a.trace").read_bytes()[:-40])
    (tmp_path / "text.trace").write_text("no trace")


@pytest.mark.usefixtures("traces")
@pytest.mark.parametrize(
    ("other", "status", "says"),
    [("same", 0, "the same: a.trace"), ("other", 1, "different: other.trace"), ("cut", 2, "could not tell")],
)
def test_the_exit_status_says_what_was_found(
    other: str, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "a.trace", f"{other}.trace"]) == status
    assert capsys.readouterr().out.startswith(says)
    assert main(["diff", "--json", "a.trace", f"{other}.trace"]) == status
    assert json.loads(capsys.readouterr().out)["outcome"] == ("same", "different", "could not tell")[status]


@pytest.mark.usefixtures("traces")
@pytest.mark.parametrize("other", ["text.trace", "nowhere.trace", "."])
def test_what_is_no_trace_is_refused_without_a_traceback(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "a.trace", other]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert other in shown.err.splitlines()[0]
    assert "Traceback" not in shown.err
