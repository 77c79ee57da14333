from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from deterministic.cli import VERBS, demo, main, verb_of


def test_every_verb_has_a_help_and_a_description(capsys: pytest.CaptureFixture[str]) -> None:
    for name in VERBS:
        verb = verb_of(name)
        with pytest.raises(SystemExit) as exit_:
            main([name, "--help"])
        assert exit_.value.code == 0
        assert VERBS[name]
        assert verb.__doc__
        assert f"usage: deterministic {name}" in capsys.readouterr().out


def test_what_a_run_of_several_seeds_passes_to_its_runs_is_in_no_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "-h"])
    shown = capsys.readouterr().out
    assert "--seeds SEEDS" in shown
    assert "--seeds-file" not in shown
    assert "SUPPRESS" not in shown


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",)])
def test_what_is_no_verb_is_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: deterministic" in capsys.readouterr().err


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert all(f"{name} " in shown and what.split()[0] in shown for name, what in VERBS.items())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("train.py --lr 1", "run train.py --lr 1"),
        ("run.py", "run run.py"),
        (".", "run ."),
        ("-m package.train", "run -m package.train"),
        ("--seed 3 train.py", "run --seed 3 train.py"),
        ("verfy train.py", "verify train.py"),
        ("--nonsense", ""),
        ("nonsense", ""),
        ("nonsense train.py", ""),
        ("check plain.py", ""),
    ],
)
def test_a_script_without_a_verb_is_told_how_to_run_it(
    words: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words.split())
    assert exit_.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    verbs = "the verbs are run, verify, record, diff, replay, info, audit, cost, demo"
    expected = f"did you mean `deterministic {meant}`?" if meant else verbs
    assert last == f"deterministic: error: there is no verb {words.split()[0]}; {expected}"


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--n-runs=3", "--runs"),
        ("--nproc-per-node=2", "--world-sizes"),
        ("--random-seed", "--seed"),
        ("--warn-only", "--deterministic warn"),
        ("--deterministic-cudnn", "--deterministic cudnn"),
        ("--determinstic", "--deterministic"),
    ],
)
def test_an_option_of_another_program_is_told_as_what_it_is_here(
    option: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["verify", option, "train.py"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"deterministic verify: error: unknown option {option}; did you mean {meant}?"


@pytest.mark.parametrize(
    "words",
    [
        "run nowhere.py",
        "verify nowhere.py",
        "record -o x nowhere.py",
        "diff nowhere nowhere",
        "info nowhere",
        "cost nowhere.py",
        "demo --plot x.svg",
        "run --nonsense",
        "verify --runs 1 x.py",
    ],
)
def test_every_verb_says_in_the_same_way_what_is_wrong(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = 0
    try:
        status = main(words.split())
    except SystemExit as exit_:
        status = int(str(exit_.code))
    assert status == 2
    assert f"deterministic {words.split()[0]}: error: " in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_told_without_torch() -> None:
    code = "import sys; from deterministic.cli import main; main(['info', 'nowhere']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "deterministic info: error: nowhere does not exist\n")


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"deterministic {version('deterministic')}\n"


def test_an_interrupt_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_help_needs_neither_torch_nor_an_optional_package() -> None:
    code = """
import sys
from deterministic.cli import main
try:
    main(["--help"])
finally:
    heavy = {"torch", "numpy", "sklearn", "rich", "matplotlib"} & sys.modules.keys()
    assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deterministic", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"deterministic {version('deterministic')}\n"


ARGUMENTS = {
    "record": ("-o", "x", __file__),
    "diff": ("a", "b"),
    **dict.fromkeys(("run", "verify", "cost", "audit"), (__file__,)),
    "replay": ["a.json"],
}


@pytest.mark.parametrize("name", VERBS)
def test_no_verb_ends_with_a_traceback_where_nobody_reads_on(name: str) -> None:
    code = f"""
import sys
from deterministic.cli import main, verb_of

def much(arguments):
    for _ in range(1000):
        print("x" * 1000)
    return 0

verb_of({name!r}).run = much
sys.argv[1:] = {[name, *ARGUMENTS.get(name, ())]!r}
sys.exit(main())
"""
    assert ended_unheard(sys.executable, "-c", code) == (141, b"")


@pytest.mark.parametrize("arguments", ["info", "info --json", "--help", "diff --help", "--version"])
def test_what_is_printed_at_the_end_may_have_no_reader(arguments: str) -> None:
    assert ended_unheard(sys.executable, "-m", "deterministic", *arguments.split()) == (141, b"")


def ended_unheard(*command: str) -> tuple[int, bytes]:
    """Run a command whose output nobody reads, and return its status and what it says on stderr."""
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    process = subprocess.Popen(command, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    return process.returncode, errors
