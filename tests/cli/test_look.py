"""How tables look, also on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deterministic.cli._look import write_table, write_verdict

from .programs import RUN

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(*command: str, cwd: Path, **variables: str) -> str:
    """Run a command on a terminal of its own, 100 columns wide, and return all that it shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **variables}
    environment = {name: value for name, value in environment.items() if name not in ("CI", "NO_COLOR") or variables}
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_plain_text_is_aligned() -> None:
    file = io.StringIO()
    write_table(("name", "value"), [("a", "1"), ("longer", "[red]2[/red]")], file, kinds=["good", "bad"])
    assert file.getvalue() == "  name    value\n  a       1\n  longer  [red]2[/red]\n"


def test_an_ensemble_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "draw.py").write_text("print('drawn')")
    command = (*RUN, "--seeds", "1,2", "draw.py")
    shown = on_a_terminal(*command, cwd=tmp_path)
    plain = _ESCAPE.sub("", shown)
    assert "seed 1: started\ndrawn\nseed 1: exit status 0," in plain.replace(
        "deterministic run: seeds 1, 2, deterministic=True\n", ""
    )
    assert "  seed  exit  time\n" in plain
    assert "\x1b[32m" in shown, "a run that succeeded is green"
    without = on_a_terminal(*command, cwd=tmp_path, NO_COLOR="1")
    assert "[32m" not in without
    assert "  seed  exit  time\n" in without


@pytest.mark.parametrize(("status", "colour"), [(0, "32"), (1, "31"), (2, "33")])
def test_the_first_line_of_a_report_has_the_colour_of_the_verdict(status: int, colour: str) -> None:
    text = "different\n  [bold]at[/bold] x.py:3 " + "long " * 60
    code = f"import sys; from deterministic.cli._look import *; write_verdict({text!r}, {status}, sys.stdout)"
    shown = on_a_terminal(sys.executable, "-c", code, cwd=Path.cwd())
    assert on_a_terminal(sys.executable, "-c", code, cwd=Path.cwd(), NO_COLOR="1") == f"{text}\n"
    assert shown.startswith(f"\x1b[1;{colour}mdifferent\x1b[0m\n")
    assert _ESCAPE.sub("", shown) == f"{text}\n", "nothing is wrapped, and nothing is markup"
    file = io.StringIO()
    write_verdict(text, status, file)
    assert file.getvalue() == f"{text}\n"


def test_what_is_in_effect_on_a_terminal_breaks_no_word(tmp_path: Path) -> None:
    info = (sys.executable, "-m", "deterministic", "info")
    shown = _ESCAPE.sub("", on_a_terminal(*info, cwd=tmp_path, COLUMNS="70"))
    assert re.search(r"torch\.deterministic_algorithms\.warn_only +False +False", shown)
    assert "\nnot controlled\n\n  PYTHONHASHSEED: The order" in shown
    sentences = shown[shown.index("not controlled") :]
    assert max(map(len, sentences.splitlines())) <= 70
    assert "from process to process; it is fixed when the interpreter starts. Start the" in " ".join(sentences.split())
