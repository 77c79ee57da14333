"""The bar over the runs of a verification."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from deterministic.verification.progress import Bar, progress

from ..cli.test_look import on_a_terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("plain", [True, False])
def test_where_others_write_or_nothing_can_be_drawn_there_is_a_line_for_each_run(
    plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress(2, plain=plain) as tell:
        for run in (1, 2):
            for steps in range(3):
                tell(f"run {run} of 2", steps)
    assert stderr.getvalue() == "run 1 of 2\nrun 2 of 2\n"


@pytest.mark.parametrize(("kind", "rank"), [(io.StringIO, "0"), (Terminal, "1")])
def test_nobody_who_does_not_look_is_told(kind: type[io.StringIO], rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = kind()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("LOCAL_RANK", rank)
    with progress(2) as tell:
        tell("run 1 of 2", 3)
    assert stderr.getvalue() == ""


def test_a_bar_counts_steps_by_those_of_the_first_run() -> None:
    bar = Bar(3)
    done = []
    for what, steps in [("1 of 3", 0), ("1 of 3", 10), ("2 of 3", 0), ("2 of 3", 5), ("2 of 3", 15), ("3 of 3", 5)]:
        bar.tell(f"run {what}", steps)
        done.append(bar.line(0).count("━"))
    assert done == [0, 0, 10, 15, 20, 25]
    bar.tell("run 1 again, step 7", 3)
    assert bar.line(75) == f"run 1 again, step 7  {'━' * 25}{'─' * 5}  step 3  1:15", "it does not go back"


def test_a_bar_of_runs_without_steps_counts_the_runs() -> None:
    bar = Bar(2)
    bar.tell("run 2 of 2", 0)
    assert bar.line(0) == f"run 2 of 2  {'━' * 15}{'─' * 15}  0:00"
    bar.tell("run 4 of 4", 1)
    assert bar.line(0).count("━") == 30, "runs beyond those that were asked for"


def test_verify_shows_one_on_a_terminal_whose_clock_goes_on_without_steps(tmp_path: Path) -> None:
    code = """
import time
from deterministic import verify
def wait():
    print("printed", flush=True)
    time.sleep(0.6)
    return 1.0
print(verify(wait, runs=2))
"""
    shown = on_a_terminal(sys.executable, "-c", code, cwd=tmp_path)
    assert "run 1 of 2  ──" in shown
    assert "run 2 of 2  ━━" in shown
    assert set(re.findall(r"  (\d:\d\d)", shown)) == {"0:00", "0:01"}
    assert shown.startswith("printed\n"), "what the function prints stays as it is"
    assert shown.endswith("\x1b[Jbit-exact: 2 runs of wait\n"), "and the bar is gone in the end"
