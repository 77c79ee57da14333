"""`deterministic audit`: 0 nothing found, 1 something, 2 a file could not be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deterministic.cli import main

from ..processes import run_python


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("good.py").write_text("x = 1\n")
    Path("bad.py").write_text("import random\nrandom.seed()\n")
    Path("broken.py").write_text("def f(:\n")
    cell = {"cell_type": "code", "source": ["import random\n", "rng = random.Random()"]}
    Path("nb.ipynb").write_text(json.dumps({"cells": [cell]}))
    return tmp_path


def test_the_exit_status_says_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "good.py"]) == 0
    assert capsys.readouterr().out == "no places in 1 file that can break reproducibility\n"
    assert main(["audit", "good.py", "bad.py"]) == 1
    first, second, between, third, *_ = capsys.readouterr().out.splitlines()
    assert first == "1 place in 2 files that can break reproducibility"
    assert second == "  bad.py:2:1: DET102 random.seed() without a seed"
    assert (between, third.partition(": ")[0]) == ("", "DET102, seeding without a seed")


def test_what_cannot_be_read_is_told_and_the_others_are_audited(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "broken.py", "bad.py", "nowhere.py"]) == 2
    shown = capsys.readouterr()
    assert [line.partition(":")[0] for line in shown.err.splitlines()] == ["broken.py", "nowhere.py"]
    assert shown.out.splitlines()[0].endswith("1 file that can break reproducibility; 2 could not be read")
    assert "bad.py:2:1" in shown.out


def test_the_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--json", "."]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert report["files"] == 3
    assert [told["path"] for told in report["unread"]] == [str(Path(".") / "broken.py")]
    in_source, in_cell = report["findings"]
    assert {name: in_source[name] for name in ("cell", "line", "column", "rule")} == {
        "cell": None,
        "line": 2,
        "column": 1,
        "rule": "DET102",
    }
    assert (in_cell["cell"], in_cell["line"]) == (1, 2)
    assert in_source["docs"] == "docs/audit.md#det102"
    assert in_source["why"]
    assert in_source["fix"]


def test_for_github_each_finding_is_at_its_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder))
    assert main(["audit", "--format", "github", "bad.py", "nb.ipynb"]) == 1
    source, cell = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert source.startswith("::error file=bad.py,line=2,title=DET102%3A random.seed() without a seed::bad.py:2:1: ")
    assert cell.startswith("::error file=nb.ipynb,title=DET101%3A ")
    assert "::nb.ipynb cell 1 line 2: " in cell


def test_it_imports_neither_torch_nor_numpy() -> None:
    program = "import sys\nfrom deterministic.cli import main\nmain(['audit', 'bad.py'])\nprint(*sys.modules)"
    assert not {"torch", "numpy", "wrapt"} & set(run_python(program).split())
