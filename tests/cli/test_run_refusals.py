"""What `deterministic run` cannot run it refuses, and nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from deterministic.cli import main

from .programs import run


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["nowhere.py"], "there is no such script\n  found: nowhere.py\nGive its path"),
        (["."], "this directory has no __main__.py"),
        (["-m"], "no script was named"),
        ([], "no script was named"),
        (["-m", "no_such_module"], "no module named 'no_such_module'"),
        (["-m", "no_such.module"], "no_such"),
        (["-m", "package"], "package.__main__"),
        (["--seed", "-1", "x.py"], "'-1' is not a seed"),
        (["--seed", "1.5", "x.py"], "'1.5' is not a seed"),
        (["--deterministic", "full", "x.py"], "invalid choice: 'full'"),
        (["--num-threads", "0", "x.py"], "'0' is not an integer of 1 or more"),
        (["--config", "nowhere.yaml", "x.py"], "there is no such configuration file"),
        (["--config", "list.yaml", "x.py"], "is not a mapping"),
        (["--config", "invalid.yaml", "x.py"], "line 2, column"),
        (["--config", "misspelt.yaml", "x.py"], "known: seed"),
        (["--config", "x.py", "x.py"], "this configuration file cannot be read"),
        (["--seeds", "42", "--seed", "1", "x.py"], "--seed and --seeds"),
        (["--jobs", "2", "x.py"], "--jobs needs --seeds"),
        (["--seeds", "1,1", "x.py"], "each once"),
        (["--seeds", "42:x", "x.py"], "'42:x' is neither"),
        (["--seeds", "42:0", "x.py"], "at least one"),
        (["--nonsense", "x.py"], "unknown option --nonsense"),
        (["--sede", "7", "x.py"], "unknown option --sede; did you mean --seed?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_run_is_refused_and_nothing_runs(options: list[str], named: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("print('ran')")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "invalid.yaml").write_text("a: 1\n  b: [\n")
    (tmp_path / "misspelt.yaml").write_text("sead: 1\n")
    done = run(*options, cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert named in done.err
    assert "deterministic run: error: " in done.err
    assert "Traceback" not in done.err


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "x.py"
    script.touch()

    def denied(*_: object) -> None:  # the superuser may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    assert main(["run", str(script)]) == 2
    assert "the script cannot be read" in capsys.readouterr().err
