"""`deterministic replay`: the same program with the same seed, level and variables; another one is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import Manifest
from deterministic.cli import main, replay
from deterministic.ground.launch import Launch

from ..processes import ROOT

SCRIPT = """
import os, sys
import torch

from deterministic import manifest

torch.nn.Linear(2, 1)(torch.rand(3, 2)).sum().backward()
print(sys.argv[1:], torch.initial_seed(), os.environ.get("NVIDIA_TF32_OVERRIDE"), torch.get_num_threads())
"""


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], check=True)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_pythons: None) -> tuple[Path, str]:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    git("init", "-q")
    git("add", "train.py")
    git("commit", "-q", "-m", "one")
    words = ["record", "--seed", "7", "-o", "a.trace", "--manifest", "a.json", "train.py", "--lr", "0.1"]
    done = subprocess.run(
        [sys.executable, "-m", "deterministic", *words], check=True, stdout=subprocess.PIPE, text=True
    )
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    # As if this process was `deterministic replay`; it is pytest.
    monkeypatch.setattr(replay, "command_with", lambda words: [sys.executable, "-m", "deterministic", *words])
    return tmp_path / "a.json", done.stdout


def test_what_was_recorded_is_run_again_and_compared(
    recorded: tuple[Path, str], capfd: pytest.CaptureFixture[str]
) -> None:
    path, first = recorded
    data = json.loads(path.read_text())
    assert (data["argv"], data["seed"], data["trace.level"]) == (["train.py", "--lr", "0.1"], 7, "ops")
    assert first.startswith("['--lr', '0.1'] 7 0 ")
    assert main(["replay", "--verify", str(path)]) == 0
    shown = capfd.readouterr()
    assert shown.out == f"{first}the same: {data['trace.digest']}\n"
    assert "can alter bits" not in shown.err
    assert main(["replay", str(path)]) == 0
    assert capfd.readouterr().out == first

    Path("train.py").write_text(SCRIPT.replace("torch.rand(3", "torch.ones(3"))
    assert main(["replay", "--verify", str(path)]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "git.dirty: False then, True here" in shown.err
    for name in ("git.dirty", "git.diff_sha256", "script.sha256"):
        assert shown.err.count(name) == 1, "each is told once"
    assert main(["replay", "--verify", "--anyway", str(path)]) == 1
    shown = capfd.readouterr()
    assert "\ndifferent: " in shown.out
    assert "differences can alter bits" in shown.err


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"argv": None}, "does not say what ran"),
    ({"argv": []}, "does not say what ran"),
    ({"argv": [1]}, "does not say what ran"),
    ({"argv": ["nowhere.py"]}, "no such script"),
    ({"argv": ["train.py", "--token", "<redacted>"]}, "what looked like a secret"),
    ({"settings.environment.XLA_FLAGS": "--x=<redacted>"}, "what looked like a secret"),
    ({"argv": ["train.py", "a\0b"]}, "null character"),
    ({"world_size": 4, "seed": 7}, "run -q --seed 7 --deterministic false train.py"),
    ({"world_size": 4, "local_world_size": 2}, "found: 4 ranks, of which torchrun had started 2 here"),
    ({"world_size": "4", "local_world_size": "4"}, "found: 4 ranks"),
    ({"git.commit": "0" * 40}, "git.commit: '000"),
    ({"script.sha256": "0"}, "this is another program"),
]


def test_what_cannot_be_run_again_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*command: Any, **how: Any) -> None:
        raise AssertionError(f"it ran {command}")

    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("")
    monkeypatch.setattr("subprocess.run", refuse)
    for changed, says in REFUSED:
        Manifest({"schema": 1, "argv": ["train.py"], **changed}).write("a.json")
        assert main(["replay", "a.json"]) == 2, changed
        assert says in capsys.readouterr().err
    Manifest({"schema": 1, "argv": ["train.py"]}).write("a.json")
    assert main(["replay", "--verify", "a.json"]) == 2
    assert "does not say what was computed" in capsys.readouterr().err
    assert main(["replay", "nowhere.json"]) == 2
    assert "cannot be read as a manifest" in capsys.readouterr().err


def test_the_command_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"seed": 3, "deterministic": True, "settings.torch.threads.num_threads": 2}
    assert replay._words(plain, ["a.py"]) == [
        *("-m", "deterministic", "run", "-q", "--seed", "3", "--deterministic", "false", "--num-threads", "2", "a.py")
    ]
    recorded = replay._words({**plain, "trace.digest": "0"}, ["a.py"])
    assert recorded[4:8] == ["--seed", "3", "--deterministic", "true"], "no scope of the script sets that level"
    launched = {**plain, **{f"launch.{name}": value for name, value in vars(Launch(5, "warn")).items()}}
    assert replay._words(launched, ["-m", "a"])[4:8] == ["--seed", "5", "--deterministic", "warn"]
    assert replay._words({"seed": None}, ["a.py"]) == ["a.py"]
    assert replay._words({"seed": 1, "launch.seed": 1, "launch.deterministic": ["x"]}, ["a.py"])[5] == "1"
    monkeypatch.setattr(replay, "command_with", lambda words: ["ours", *words])
    assert replay._command({}, recorded)[:2] == ["ours", "run"]
    assert replay._command({"world_size": 1}, ["a.py"]) == [sys.executable, "a.py"]
    ranks = {"world_size": 2, "local_world_size": 2}
    assert replay._command(ranks, ["a.py", "--lr"])[-4:] == ["--nproc-per-node", "2", "a.py", "--lr"]


@pytest.mark.slow
def test_ranks_that_torchrun_started_are_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    Path("train.py").write_text("import os, torch\nprint(f'{os.environ[\"RANK\"]}: {torch.rand(1).item()}')\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["record", "--seed", "7", "-o", "a.trace", "--manifest", "a.json", "train.py"]
    subprocess.run([*torchrun, "-m", "deterministic", *words], check=True)
    first = sorted(capfd.readouterr().out.splitlines())
    assert [line[:2] for line in first] == ["0:", "1:"]
    assert main(["replay", "--verify", "a.rank1.json"]) == 0
    *again, verdict = capfd.readouterr().out.splitlines()
    assert sorted(again) == first
    assert verdict.startswith("the same: ")


def test_no_variable_that_is_not_on_the_list_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    start = "settings.environment."
    found = replay._environment_of({f"{start}LD_PRELOAD": "x", f"{start}MKL_CBWR": "COMPATIBLE"})
    assert (found.get("LD_PRELOAD"), found["MKL_CBWR"]) == (None, "COMPATIBLE")
    assert "OMP_NUM_THREADS" not in found, "it was not set then"


def test_a_recording_is_repeated_with_as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    name, variable = "settings.torch.threads.num_threads", "settings.environment.OMP_NUM_THREADS"
    other = torch.get_num_threads() + 1
    assert replay._environment_of({name: other})["OMP_NUM_THREADS"] == str(other)
    assert replay._environment_of({name: other, variable: "7"})["OMP_NUM_THREADS"] == "7"
    for same in (other - 1, None, 0, True, "2"):
        assert "OMP_NUM_THREADS" not in replay._environment_of({name: same})
