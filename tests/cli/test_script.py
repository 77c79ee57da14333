"""Our options come before the script, and all that comes after it is its own."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from deterministic.cli import main, verb_of
from deterministic.cli._options import UsageError, control_of, task_of, tell_misplaced
from deterministic.verification.scripts import ScriptTask


def parsed(*command_line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deterministic")
    verb = parser.add_subparsers().add_parser("verify")
    verb_of("verify").add_arguments(verb)
    return parser.parse_args(["verify", *command_line])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train.py", "-odd.py"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        ("train.py", ScriptTask("train.py")),
        ("--runs 5 train.py --runs 7", ScriptTask("train.py", ("--runs", "7"))),
        (
            "train.py --seed=1 --json -m x --stress",
            ScriptTask("train.py", ("--seed=1", "--json", "-m", "x", "--stress")),
        ),
        ("train.py --s 1 --help", ScriptTask("train.py", ("--s", "1", "--help"))),
        ("train.py -- --x", ScriptTask("train.py", ("--", "--x"))),
        ("-- train.py --x -- y", ScriptTask("train.py", ("--x", "--", "y"))),
        ("-- -odd.py -o", ScriptTask("-odd.py", ("-o",))),
        ("--json -- train.py", ScriptTask("train.py")),
        ("-m package.train --runs 7 -m", ScriptTask("package.train", ("--runs", "7", "-m"), is_module=True)),
        ("--runs 5 -m package --help", ScriptTask("package", ("--help",), is_module=True)),
        ("train.py -1 -1.5 --lr -1e-3", ScriptTask("train.py", ("-1", "-1.5", "--lr", "-1e-3"))),
    ],
)
def test_what_comes_after_the_script_is_its_own(command_line: str, expected: ScriptTask) -> None:
    arguments = parsed(*command_line.split())
    assert task_of(arguments) == expected
    assert arguments.runs == (5 if command_line.startswith("--runs 5") else None)
    assert arguments.json == command_line.startswith("--json")
    assert arguments.stress is False


@pytest.mark.parametrize(
    ("command_line", "told"),
    [
        ("train.py --runs 2", "--runs 2 stands after the script and is given to it"),
        ("-m package.train --runs=2 x", "--runs=2 stands after the script and is given to it"),
        ("train.py --json x --seed 1", "--json, --seed 1 stand after the script and are given to it"),
        ("train.py --timeout --as-is", "--timeout, --as-is stand after the script and are given to it"),
        ("--runs 2 train.py --lr 1 --run --verb --command x", ""),
        ("train.py", ""),
    ],
)
def test_options_after_the_script_are_told_of_once(
    command_line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parsed(*command_line.split())
    arguments.verb = "verify"
    tell_misplaced(arguments)
    expected = f"deterministic verify: {told}; options of deterministic come before it\n" if told else ""
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("command_line", ["", "--", "-m", "--runs 2", "nowhere.py"])
def test_a_script_that_is_not_there_is_refused(command_line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        task_of(parsed(*command_line.split()))
    assert main(["verify", *command_line.split()]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    "command_line",
    [
        "--run 2 train.py",
        "--nonsense train.py",
        "--runs 1 train.py",
        "--seed -1 train.py",
        f"--seed {2**64} train.py",
        "--seed x train.py",
        "--deterministic full train.py",
        "--timeout 0 train.py",
        "--timeout nan train.py",
    ],
)
def test_our_own_options_are_checked(command_line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parsed(*command_line.split())
    assert exit_.value.code == 2
    shown = capsys.readouterr().err
    assert "usage: deterministic" in shown
    assert command_line.split()[0] in shown.splitlines()[-1]


def test_options_of_a_scope_make_one() -> None:
    assert repr(control_of(parsed("train.py"))) == "reproducible(seed=<omitted>, deterministic=True)"
    scope = control_of(parsed("--seed", "0x10", "--deterministic", "cudnn", "train.py"))
    assert repr(scope) == "reproducible(seed=16, deterministic='cudnn')"
    assert control_of(parsed("--as-is", "train.py")) is False


@pytest.mark.parametrize("option", ["--seed=0", "--deterministic=false"])
def test_a_script_as_it_is_has_no_seed_and_no_level(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--as-is", option, "train.py"]) == 2
    assert option.partition("=")[0] in capsys.readouterr().err


@pytest.mark.usefixtures("warm_pythons")
@pytest.mark.parametrize("command", ["verify --runs 2", "cost --runs 2 --levels true"])
def test_a_module_that_is_not_there_is_refused_as_run_refuses_it(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "-m", "no_such_module"]) == 2
    shown = capfd.readouterr()
    said = f"deterministic {command.split()[0]}: error: no module named 'no_such_module' that can be run"
    assert shown.err.splitlines()[-1] == said
    assert "NotRunnableError" not in shown.out + shown.err
