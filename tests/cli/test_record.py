"""`deterministic record`: the script runs here, once, and the trace says what it computed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deterministic.cli import main
from deterministic.trace.file.store import TraceReader

from ..processes import ROOT

SCRIPT = """
import os, sys
import torch

torch.set_num_threads(1)
assert __name__ == "__main__"
assert sys.modules["__main__"].sys is sys
assert sys.path[0] == os.path.dirname(os.path.abspath(__file__)), sys.path
assert os.getcwd() not in sys.path[__spec__ is not None :], sys.path
os.mkdir("elsewhere")
os.chdir("elsewhere")
value = torch.rand(3)
print(sys.argv, torch.initial_seed(), torch.are_deterministic_algorithms_enabled())
sys.stdout.flush()
{end}
"""


def record(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deterministic", "record", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )


def test_the_exit_status_is_the_scripts_own_and_the_trace_is_whole(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.py").write_text(SCRIPT.format(end="sys.exit(3)"))
    done = record(tmp_path, "--seed", "7", "-o", "a.trace", "--level", "ops", "sub/train.py", "-o", "--seed", "1")
    assert done.returncode == 3, done.stderr
    assert done.stdout == "['sub/train.py', '-o', '--seed', '1'] 7 True\n"
    (told,) = done.stderr.splitlines()
    assert told.startswith("deterministic record: --seed 1 stands after the script and is given to it")
    with TraceReader(tmp_path / "a.trace") as reader:
        assert len(list(reader.segments())) == 1
        assert "sub/train.py:12" in {site.place for site in reader.sites}
        assert (reader.header["level"], reader.footer is not None) == ("ops", True)
        assert reader.footer is not None
        assert reader.footer["raised"] == "SystemExit"


@pytest.mark.usefixtures("warm_pythons")
def test_a_traceback_begins_at_the_script_and_as_it_is_nothing_is_seeded(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT.format(end="raise LookupError('nothing there')"))
    done = record(tmp_path, "--as-is", "--output=a.trace", "--absolute-paths", "-m", "train")
    assert done.returncode == 1
    assert done.stdout.endswith(" False\n")
    assert " 42 " not in done.stdout
    lines = done.stderr.splitlines()
    assert lines[:2] == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path / "train.py"}", line 15, in <module>',
    ]
    assert lines[-1] == "LookupError: nothing there"
    with TraceReader(tmp_path / "a.trace") as reader:
        assert len(list(reader.segments())) == 1
        assert f"{tmp_path / 'train.py'}:12" in {site.place for site in reader.sites}


@pytest.mark.parametrize("output", ["nowhere/a.trace", ".", "closed/a.trace"])
def test_a_trace_that_could_not_be_written_is_refused_before_the_script_runs(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("open('ran', 'w')")
    (tmp_path / "closed").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "closed" not in str(path) and real(path, mode))
    assert main(["record", "-o", output, "train.py"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert not (tmp_path / "ran").exists()


def test_the_trace_must_be_named_and_the_level_known(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train.py"], ["-o", "a.trace", "--level", "all", "train.py"]):
        with pytest.raises(SystemExit) as exit_:
            main(["record", *arguments])
        assert exit_.value.code == 2
    assert "usage: deterministic record [options] (SCRIPT | -m MODULE)" in capsys.readouterr().err


@pytest.mark.usefixtures("warm_pythons")
def test_the_way_out_of_a_refused_operation_is_kept(tmp_path: Path) -> None:
    (tmp_path / "put.py").write_text("import torch\ntorch.zeros(1).put_(torch.tensor([0]), torch.tensor([1.0]))\n")
    done = record(tmp_path, "-o", "a.trace", "put.py")
    assert done.returncode == 1
    assert f"called at: {tmp_path / 'put.py'}:2\n" in done.stderr
    assert "deterministic record --deterministic warn" in done.stderr
