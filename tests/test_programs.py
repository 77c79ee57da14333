"""Whole programs, as people write them: each is bit-exact as it is, and with one fault in it, its line is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deterministic.cli import main

from .processes import ROOT
from .properties import on_demand

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("here")]


class Change(NamedTuple):
    """One line of a program is changed: what stands in it, what comes in its place, and what is then told of it."""

    old: str
    new: str
    because: str


STEPS = {
    "names": 4,
    "reinforce": 2,
    "siamese_network": 4,
    "small_gpt": 3,
    "vae": 4,
    "word_language_model": 4,
}
CHANGES = {
    "names": Change("* 0.5", "* 0.25", "other was 0.5 in the first run, 0.25 in the second"),
    "reinforce": Change("+ 1e-5", "+ 1e-3", "other was 1e-05 in the first run, 0.001 in the second"),
    "siamese_network": Change("1.0 - distance", "2.0 - distance", "was 1.0 in the first run, 2.0 in the second"),
    "small_gpt": Change("std=0.02", "std=0.03", "std was 0.02 in the first run, 0.03 in the second"),
    "vae": Change("0.5 * log_variance", "0.25 * log_variance", "other was 0.5 in the first run, 0.25 in the second"),
    "word_language_model": Change("-0.1, 0.1", "-0.2, 0.1", "from was -0.1 in the first run, -0.2 in the second"),
}
every_program = pytest.mark.parametrize(
    "program", ["names", "small_gpt", *on_demand(sorted(STEPS.keys() - {"names", "small_gpt"}))]
)


class Fault(NamedTuple):
    """What makes a program differ from run to run.

    Attributes:
        program: Its name.
        replaced: What stands in the program, and what comes in its place.
        line: What stands in the line to be named.
        reason: The reason to be told.
        told: What the text says beside it.
        as_is: Whether nothing is seeded by the command.
    """

    program: str
    replaced: dict[str, str]
    line: str
    reason: str
    told: str = ""
    as_is: bool = False


UNSEEDED = "unseeded = torch.Generator()\nunseeded.seed()\nBLOCK, WIDTH,"
FAULTS = {
    "a rate by the clock, in an update by hand": Fault(
        "word_language_model", {"alpha=-rate": "alpha=-rate * (1 + time.time() % 1)"}, "data.add_(", "number", "alpha"
    ),
    "a rate by the clock, in an optimizer": Fault(
        "small_gpt", {"math.cos(math.pi * step / 3)": "time.time() % 1"}, "optimizer.step()", "number", "lr"
    ),
    "an unseeded reset": Fault(
        "reinforce", {"random.Random(seed)": "random.Random()"}, "return torch.tensor([self.place", "outside data"
    ),
    "the order of a set": Fault(
        "names", {"sorted(set(": "list(set("}, "inputs = torch.tensor(", "outside data", "order of a set", as_is=True
    ),
    "an unseeded generator in a dataset": Fault(
        "vae", {"default_rng(14)": "default_rng()"}, "torch.from_numpy(picture)", "outside data"
    ),
    "an index drawn unseeded": Fault(
        "siamese_network", {"random.seed(12)\n": ""}, "pictures[partner]", "number", "random", as_is=True
    ),
    "an unseeded generator of torch": Fault(
        "small_gpt",
        {"BLOCK, WIDTH,": UNSEEDED, "(4,))": "(4,), generator=unseeded)"},
        "torch.randint(",
        "generator",
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_pythons: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)


def text_of(program: str) -> str:
    return (ROOT / "tests" / "programs" / f"{program}.py").read_text(encoding="utf-8")


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} stands in it {text.count(old)} times"
    return text.replace(old, new)


def line_with(text: str, part: str) -> tuple[int, str]:
    """Return the number and the text of the first line that a part stands in."""
    return next((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if part in line)


def record(program: str, text: str, folder: str) -> None:
    """Record a version of a program, in a folder of its own."""
    Path(folder).mkdir()
    Path(folder, f"{program}.py").write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "deterministic", "record", "-o", "run.trace", f"{program}.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        check=True,
        timeout=300,
    )


@every_program
def test_a_program_is_bit_exact_seeded_and_as_it_is_and_what_it_costs_is_told(
    program: str, capfd: pytest.CaptureFixture[str]
) -> None:
    script = f"{program}.py"
    Path(script).write_text(text_of(program), encoding="utf-8")
    for options in ([], ["--as-is"]):
        assert main(["verify", "--runs", "2", *options, script]) == 0
        told = f"bit-exact: 2 runs of {script}, {STEPS[program]} steps each"
        assert capfd.readouterr().out.splitlines()[0] == told
    assert main(["cost", "--runs", "2", "--levels", "true", "--json", script]) == 0
    (result,) = json.loads(capfd.readouterr().out)["results"]
    assert result["outcome"] == "same"
    assert result["seconds"] > 0


@every_program
def test_a_comment_is_no_difference_and_a_change_below_it_is_one_at_both_lines(
    program: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text, change = text_of(program), CHANGES[program]
    commented = f"# What this is: a program.\n{text}"
    changed = replaced(commented, change.old, change.new)
    for folder, version in {"old": text, "commented": commented, "new": changed}.items():
        record(program, version, folder)
    capfd.readouterr()

    assert main(["diff", "old/run.trace", "commented/run.trace"]) == 0
    assert capfd.readouterr().out.startswith("the same: old/run.trace and commented/run.trace")

    assert main(["diff", "--json", "old/run.trace", "new/run.trace"]) == 1
    (found,) = json.loads(capfd.readouterr().out)["verdicts"]
    difference: dict[str, Any] = found["first_difference"]
    for side, version, part in (("first", text, change.old), ("second", changed, change.new)):
        number, line = line_with(version, part)
        assert (difference[side]["place"], difference[side]["text"]) == (f"{program}.py:{number}", line)
    assert found["reason"] == "number"
    assert change.because in found["because"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_program_with_one_fault_differs_at_its_line(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    fault = FAULTS[name]
    text = f"import time\n{text_of(fault.program)}"
    for old, new in fault.replaced.items():
        text = replaced(text, old, new)
    Path(f"{fault.program}.py").write_text(text, encoding="utf-8")
    options = ["--as-is"] if fault.as_is else []
    status = main(["verify", "--runs", "2", "--json", *options, f"{fault.program}.py"])
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert (status, found["outcome"]) == (1, "different")
    verdict, (number, _) = found["verdict"], line_with(text, fault.line)
    assert verdict["first_difference"]["first"]["place"] == f"{fault.program}.py:{number}"
    assert verdict["reason"] == fault.reason
    assert fault.told in verdict["because"] + verdict["remedy"]
