"""`deterministic diff`: 0 the same, 1 different, 2 could not tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deterministic import Manifest, record
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


@pytest.mark.usefixtures("traces")
def test_manifests_are_compared_by_what_can_alter_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"schema": 1, "seed": 1, "os.release": "5"}
    for name, changed in (("a", {}), ("seed", {"seed": 2}), ("system", {"os.release": "6"})):
        Manifest({**base, **changed}).write(f"{name}.trace.json")  # what it is, the content says
    assert main(["diff", "a.trace.json", "system.trace.json"]) == 0
    assert "nothing differs that is known to alter bits" in capsys.readouterr().out
    assert main(["diff", "a.trace.json", "seed.trace.json"]) == 1
    assert capsys.readouterr().out.startswith("1 difference can alter bits\n  1  seed  1 -> 2\n")
    assert main(["diff", "--json", "a.trace.json", "seed.trace.json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"][0]["tier"] == 1
    (tmp_path / "newer.json").write_text('\n {"schema": 2}')
    for other, says in (("newer.json", "schema 2, where this version reads 1"), ("a.trace", "cannot be compared")):
        assert main(["diff", "a.trace.json", other]) == 2
        assert says in capsys.readouterr().err
    assert main(["diff", "a.trace", "a.trace.json"]) == 2
    assert "a.trace: no manifest; a.trace.json: a manifest" in capsys.readouterr().err
    for words in (["a.trace.json", "nowhere.json"], ["nowhere.json", "a.trace.json"]):
        assert main(["diff", *words]) == 2
        assert "nowhere.json cannot be compared with a manifest" in capsys.readouterr().err
    (tmp_path / "marked.json").write_text('\ufeff{"schema": 1}')
    assert main(["diff", "marked.json", "marked.json"]) == 0
