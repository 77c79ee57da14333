from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deterministic.cli import main
from deterministic.verification import levels
from deterministic.verification.levels import LevelComparison, LevelResult
from deterministic.verification.processes import RunFailedError
from deterministic.verification.scripts import ScriptTask
from deterministic.verification.trials import RESIDENT, FreshTrials

SCRIPT = """
import os, sys
import torch

with open(sys.argv[2], "a") as log:
    log.write(f"{os.getpid()} {torch.are_deterministic_algorithms_enabled()} {torch.initial_seed()}\\n")
    log.write(f"{sys.argv[1]} {os.environ['PYTHONHASHSEED']} {'pid' in globals()}\\n")
pid = os.getpid()
held = torch.ones(32 << 18)
torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0]))
torch.nn.Linear(2, 2)(held[:2])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.mark.usefixtures("warm_pythons")
def test_a_script_is_measured_in_fresh_interpreters_and_a_level_that_raises_does_not_end_it(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    arguments = ["--levels=false,true", "--runs=2", "--json", str(script), "--json", str(tmp_path / "log")]
    assert main(["cost", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    measured, raised = found["results"]
    assert found["where"] == "each in a fresh interpreter"
    assert measured["outcome"] == "same"
    assert len(measured["ratios"]) == 2
    assert 0 < measured["seconds"] < 60
    if measured["peak_is"] == RESIDENT:
        assert 30 << 20 < measured["host_peak"] < 200 << 20
    assert raised["operation"] == "put_"
    assert raised["seconds"] is None
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    processes = [line.split() for line in lines[::2]]
    assert len({process for process, _, _ in processes}) == 2 + 2 + 1 + 1 + 2  # at True it ends in the first
    assert [level for _, level, _ in processes[:3]] == ["False", "True", "False"]
    assert {seed for _, _, seed in processes} == {"42"}
    assert set(lines[1::2]) == {"--json 0 False"}


def test_a_script_that_fails_at_every_level_is_refused_with_its_own_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.py"
    path.write_text("def load():\n    raise KeyError('data')\n\nload()\n", encoding="utf-8")
    assert main(["cost", "--levels=true", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    first, title, *rest = shown.err.splitlines()
    assert first == "deterministic cost: error: KeyError: 'data'"
    assert title == f"  in: {path}"
    assert rest[0] == "  Traceback (most recent call last):"
    assert f'File "{path}", line 4' in rest[1]
    assert rest[-1] == "Fix it, and measure again."


@pytest.mark.parametrize("ending", ["import os; os._exit(3)", "import os; print('bye', flush=True); os.abort()"])
def test_a_process_that_leaves_no_answer_is_told_of(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(ending, encoding="utf-8")
    with pytest.raises(RunFailedError, match=r"it ended with status (3|-6) before it could be measured"):
        FreshTrials(ScriptTask(str(path))).seconds(True)


def test_nothing_is_left_running_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.py"
    path.write_text("import time; time.sleep(600)", encoding="utf-8")
    children: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            if not children:
                children.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        FreshTrials(ScriptTask(str(path))).seconds(True)
    assert children[0].returncode is not None


def test_a_table_is_printed_and_the_options_reach_the_measurement(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def compare(trials: FreshTrials, which: Sequence[Any], runs: int, progress: Any) -> LevelComparison:
        asked.extend((trials.title, list(which), runs))
        return LevelComparison(trials.title, trials.where, runs, True, [LevelResult(True, 1.0, 1.0, [1.0])])

    monkeypatch.setattr(levels, "compare", compare)
    assert main(["cost", "--runs", "5", "--levels", "true,warn", str(script), "--epochs", "2"]) == 0
    assert asked == [f"{script} --epochs 2", [True, "warn"], 5]
    assert capsys.readouterr().out.startswith(f"{script} --epochs 2: 1 levels side by side")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--runs=1", "train.py"),
        ("--runs=two", "train.py"),
        ("--levels=", "train.py"),
        ("--levels=false,cuda", "train.py"),
        ("--levels=true,true", "train.py"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["cost", *arguments])
    assert exit_.value.code == 2


@pytest.mark.parametrize("arguments", [(), ("-m",), ("nowhere/train.py",)])
def test_a_missing_script_is_refused_before_anything_runs(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert main(["cost", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
