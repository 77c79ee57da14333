"""`deterministic verify`: each repetition is a fresh interpreter that runs the user's script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deterministic.cli import main
from deterministic.verification import verification

TRAIN = """\
import sys
import torch

torch.set_num_threads(1)
names = set(map('layer{}'.format, range(20)))
for name in names:
    first = float(name.removeprefix("layer"))
    break
weight = torch.nn.Parameter(torch.zeros(3))
optimizer = torch.optim.SGD([weight], lr=0.1)
for _ in range(2):
    weight.grad = torch.full((3,), first)
    optimizer.step()
"""
UNSEEDED = """
weight.grad = torch.randn(3)
optimizer.step()
print(sys.argv[1:])
"""


def line_of(script: Path, text: str) -> str:
    number = next(n for n, line in enumerate(script.read_text().splitlines(), 1) if text in line)
    return f"{script.name}:{number}"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_pythons: None) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    path = tmp_path / "train.py"
    path.write_text(TRAIN + UNSEEDED)
    return path


@pytest.mark.usefixtures("script")
def test_a_module_is_bit_exact_by_default(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").mkdir()
    options = ["--runs", "2", "--keep-traces", "kept", "--html", "report.html"]
    assert main(["verify", *options, "-m", "train", "--runs", "7"]) == 0
    shown = capfd.readouterr()
    assert shown.out == "bit-exact: 2 runs of -m train --runs 7, 3 steps each\n"
    told, *written = shown.err.splitlines()
    assert told.startswith("deterministic verify: --runs 7 stands after the script and is given to it")
    assert written == ["the report is in report.html", "the traces are in kept"]
    assert (tmp_path / "kept" / "run2.out").read_text() == "['--runs', '7']\n"
    assert (tmp_path / "kept" / "run2.log").read_text() == ""
    assert main(["diff", "kept/run1.trace", "kept/run2.trace"]) == 0
    assert "bit-exact: 2 runs" in (tmp_path / "report.html").read_text()


def test_as_it_is_an_unseeded_script_differs_at_its_line(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text(script.read_text().replace("in names", "in sorted(names)"))
    assert main(["verify", "--runs", "2", "--as-is", str(script)]) == 1
    shown = capfd.readouterr().out
    assert f"  line              {line_of(script, 'randn')} in <module>   weight.grad = torch.randn(3)\n" in shown
    assert "run 2 of" in shown
    assert "  so                the state of its generator (default cpu) differed before the draw\n" in shown


def test_under_stress_the_order_of_a_set_differs_at_its_line(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--runs", "2", "--stress", "--json", "train.py"]) == 1
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert found["outcome"] == "different"
    assert found["verdict"]["first_difference"]["first"]["place"] == line_of(script, "torch.full")
    assert found["verdict"]["reason"] == "number"
    assert "PYTHONHASHSEED differed" in found["verdict"]["remedy"]
    assert "run 2 had other conditions: PYTHONHASHSEED=1, MALLOC_PERTURB_=" in found["notes"][0]


def test_a_script_that_fails_is_told_of_with_its_last_lines(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text("print('before')\nopen('nowhere')\n")
    assert main(["verify", "train.py"]) == 2
    shown = capfd.readouterr().out
    assert "could not tell whether train.py is bit-exact, after 0 runs\n" in shown
    assert f'\n  before\n  Traceback (most recent call last):\n    File "{script}", line 2, in <module>\n' in shown
    assert "\n  FileNotFoundError: [Errno 2] No such file or directory: 'nowhere'\n" in shown


def test_the_way_out_of_a_refused_operation_is_kept(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text("import torch\ntorch.zeros(3).put_(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))\n")
    assert main(["verify", "train.py"]) == 2
    shown = capfd.readouterr().out
    assert f"\n  called at: {script}:2\n" in shown
    assert "deterministic verify --deterministic warn" in shown


def test_a_script_that_takes_too_long_is_ended(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text("import time\ntime.sleep(600)\n")
    assert main(["verify", "--timeout", "0.2", "--json", "train.py"]) == 2
    found = json.loads(capfd.readouterr().out)
    assert found["outcome"] == "could not tell"
    assert found["reasons"][0] == "run 1 was ended after 0.2 seconds, the timeout"


def test_what_a_script_prints_is_shown_on_request(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text("print('out')\nimport sys\nprint('err', file=sys.stderr)\nsys.exit(1)\n")
    assert main(["verify", "--show-output", "train.py"]) == 2
    assert capfd.readouterr().err == "out\nerr\n"


PRINTS = """
import os
import sys
import torch
print("a training")
sys.stderr.write(f"process {os.getpid()}")
print(torch.nn.Linear(2, 1)(torch.ones(2)).item(), f"{os.getpid()}\\x00")
"""


def test_the_same_bits_with_another_output_are_not_called_bit_exact(
    script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script.write_text(PRINTS)
    assert main(["verify", "--runs", "2", "--json", "train.py"]) == 2
    found = json.loads(capfd.readouterr().out)
    assert (found["outcome"], found["differs"]) == ("could not tell", "line 2 of its output differs")
    one, other, what_to_do = found["reasons"]
    assert re.fullmatch(r"  run 1: '.*\d+\\x00\\n'", one)
    assert one[9:] != other[9:]
    assert "--ignore-output" in what_to_do


@pytest.mark.parametrize("option", ["--ignore-output", "--show-output"])
def test_what_is_printed_is_not_compared_on_request(
    option: str, script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script.write_text(PRINTS)
    assert main(["verify", "--runs", "2", option, "train.py"]) == 0
    assert capfd.readouterr().out == "bit-exact: 2 runs of train.py\n"


def test_an_output_that_differs_is_told_of_beside_that_nothing_was_compared(
    script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script.write_text("import os\nprint(os.getpid())\n")
    assert main(["verify", "--runs", "2", "train.py"]) == 2
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == "could not tell whether train.py is bit-exact, after 2 runs"
    assert "nothing was recorded that could be compared" in shown[1]
    assert shown[2] == "  line 1 of its output differs"


@pytest.mark.parametrize(
    "options",
    [
        ["--html", "nowhere/report.html"],
        ["--html", "."],
        ["--plot", "curves.svg"],
        ["--plot", "nowhere/curves.png"],
        ["--keep-traces", "nowhere"],
    ],
)
@pytest.mark.usefixtures("script")
def test_what_could_not_be_written_is_refused_before_anything_runs(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verification, "Verification", None)
    assert main(["verify", *options, "train.py"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
