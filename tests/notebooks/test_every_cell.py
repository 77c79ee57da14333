"""`%reproducible`: every cell a scope of its own, whether it is on, and the report."""

from __future__ import annotations

import random
from typing import Any

import pytest

from deterministic.scope import stack

from .kernels import drawn
from .kernels import run_in as run


def test_on_makes_every_cell_a_scope_of_its_own(shell: Any) -> None:
    run(shell, "import random; from deterministic.scope import stack\n%reproducible on --seed 7")

    assert [run(shell, "random.random()") for _ in range(2)] == [drawn(7)] * 2
    assert run(shell, "if True:\n    x = random.random()\nx") == drawn(7)
    assert stack.innermost() is None  # between the cells
    run(shell, "random.random(); get_ipython().run_cell('found = (random.random(), len(stack._entries))')")
    by_hand = random.Random(7)
    assert shell.user_ns["found"] == ((by_hand.random(), by_hand.random())[1], 1)  # the outer cell's scope goes on
    assert type(shell.run_cell("x = 1\n\n1 / 0").error_in_exec) is ZeroDivisionError
    assert run(shell, "%time x = random.random()\nx, len(stack._entries)") == (drawn(7), 1)

    run(shell, "%reproducible off")
    assert run(shell, "len(stack._entries)") == 0


def test_a_cell_of_its_own_nests_in_that_of_on(shell: Any) -> None:
    run(shell, "import random; from deterministic.scope import stack\n%reproducible on --seed 7")

    assert run(shell, "%%reproducible --seed 42\nrandom.random(), len(stack._entries)") == (drawn(42), 2)
    assert run(shell, "%%reproducible\nrandom.random()") == drawn(7)  # an omitted seed is that of the enclosing scope
    assert run(shell, "%%time\n%%reproducible --seed 42\nrandom.random()") == drawn(42)
    assert stack.innermost() is None


def test_the_line_of_an_error_is_the_cells_after_on(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("%reproducible on")
    shell.run_cell("x = 1\n\n1 / 0")

    assert "----> 3 1 / 0" in capsys.readouterr().out


def test_it_says_whether_it_is_on(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("%reproducible")
    shell.run_cell("%reproducible on --seed 7")
    shell.run_cell("%reproducible")
    shell.run_cell("%reproducible off")

    off = "reproducible is off: a cell runs under a scope if its first line is %%reproducible"
    on = "reproducible is on: every later cell runs as with %%reproducible --seed 7"
    assert capsys.readouterr().out.splitlines() == [off, on, on, off]


def test_report_is_of_this_cell_or_of_the_latest_one_under_a_scope(shell: Any) -> None:
    nothing = shell.run_cell("%reproducible report")
    assert "no cell has run under a scope yet" in str(nothing.error_in_exec)

    shell.run_cell("%%reproducible --seed 42\nx = 1", store_history=True)
    shell.run_cell("y = 1")
    report = run(shell, "%reproducible report")
    assert (report.data["seed"], report.data["entered_at"]) == (42, "Cell In[1]:1")
    assert run(shell, "%%reproducible --seed 3\n%reproducible report").data["seed"] == 3

    shell.run_cell("%reproducible on --seed 7")
    assert run(shell, "%reproducible report").data["seed"] == 3  # a cell of this line alone is no scope
    shell.run_cell("z = 1")
    assert run(shell, "report = %reproducible report\nreport").data["seed"] == 7
