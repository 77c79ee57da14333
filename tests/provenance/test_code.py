"""Which program ran: the commit and what lies over it, and nothing that a configuration names is run for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deterministic.provenance import code

SECRET = "planted0Secret"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    finished = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    (folder / "train.py").write_text("print(1)\n")
    (folder / "inner" / "more.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "remote", "add", "origin", f"https://user:{SECRET}@host.invalid/a.git")
    git(folder, "config", "http.extraheader", f"AUTHORIZATION: basic {SECRET}")
    monkeypatch.chdir(folder / "inner")
    monkeypatch.setattr(code, "_script_path", lambda: None)
    return folder


def test_the_commit_and_what_lies_over_it_are_told(repository: Path) -> None:
    clean = code.commit()
    assert clean["git.commit"] == git(repository, "rev-parse", "HEAD")
    assert clean["git.dirty"] is False
    (repository / "unknown.txt").write_text("not git's")
    os.utime(repository / "train.py", (1, 1))
    assert code.commit() == clean, "neither what git does not know nor a file that was touched is a change"
    (repository / "train.py").write_text("print(2)\n")
    dirty = code.commit()
    assert dirty["git.dirty"] is True
    assert dirty["git.diff_sha256"] != clean["git.diff_sha256"]
    git(repository, "config", "diff.noprefix", "true")
    git(repository, "config", "color.ui", "always")
    git(repository, "config", "diff.context", "0")
    assert code.commit() == dirty, "the user's way to look at differences does not count"
    git(repository, "commit", "-q", "-a", "-m", "two")
    assert code.commit()["git.commit"] != clean["git.commit"]
    assert SECRET not in str([clean, dirty])


def test_nothing_that_the_repository_names_is_run(repository: Path) -> None:
    ran = repository.parent / "ran"
    (repository / ".gitattributes").write_text("*.py diff=own\n")
    for name in ("core.fsmonitor", "diff.external", "diff.own.command", "diff.own.textconv", "core.pager"):
        git(repository, "config", name, f"sh -c 'echo {name} >> {ran}; cat' x")
    (repository / "train.py").write_text("print(3)\n")
    assert code.commit()["git.dirty"] is True
    assert not ran.exists(), ran.read_text()


def test_without_a_repository_or_git_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_script_path", lambda: None)
    monkeypatch.chdir(tmp_path)
    found = code.commit()
    assert found["git.commit"] is None
    assert "no repository" in found["reason.git.commit"]
    subprocess.run(["git", "init", "-q", "."], check=True)
    assert "no repository with a commit" in code.commit()["reason.git.dirty"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code.commit()["reason.git.diff_sha256"].startswith("git cannot be run: ")


@pytest.mark.skipif(os.name != "posix", reason="a git of one's own is a script of the shell here")
def test_a_git_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(code, "SECONDS", 0.1)
    assert "took longer" in code.commit()["reason.git.commit"]


def test_the_script_is_told_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "train.py"
    main: Any = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", str(script), raising=False)
    assert "is no file" in code.script()["reason.script.sha256"]
    script.write_text("x")
    assert code.script()["script.sha256"].startswith("2d711642b726b044")  # sha256 of "x"
