"""Cells under `%%reproducible` in a real kernel: what they show, how they end, what they draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .kernels import Kernel

DRAWS = "random.random(), torch.rand(1).item()"
BY_HAND = f"random.seed(42); torch.manual_seed(42)\n{DRAWS}"
CELL = f"%%reproducible --seed 42\n{DRAWS}"
OPEN = "from deterministic.scope import stack\nlen(stack._entries)"


def test_the_last_expression_shows_and_the_draws_are_those_of_seeding_by_hand(kernel: Kernel) -> None:
    ran = kernel.run(CELL)

    assert ran.outputs == ["execute_result"]
    assert ran.shown() == kernel.run(BY_HAND).shown()


def test_running_a_cell_again_draws_the_same_whatever_ran_between(kernel: Kernel) -> None:
    first = kernel.value(CELL)
    kernel.run("random.random(); torch.rand(100); torch.manual_seed(7); random.seed(7)")
    second = kernel.value(CELL)
    kernel.run("%%reproducible --seed 1\ntorch.rand(3)\n1 / 0")

    assert first == second == kernel.value(CELL)


def test_what_runs_after_a_cell_goes_on_where_it_was(kernel: Kernel) -> None:
    expected = kernel.value(f"random.seed(7); torch.manual_seed(7)\n[({DRAWS}) for _ in range(2)]")
    first = kernel.value(f"random.seed(7); torch.manual_seed(7)\n{DRAWS}")
    kernel.run(CELL)

    assert [first, kernel.value(DRAWS)] == expected


def test_await_works(kernel: Kernel) -> None:
    ran = kernel.run(f"%%reproducible --seed 42\nawait asyncio.sleep(0.01)\ninside = ({DRAWS})\n{OPEN}")

    assert ran.shown() == "1"
    assert kernel.value("inside") == kernel.value(CELL)


@pytest.mark.parametrize("wait", ["", "    await asyncio.sleep(0)\n"], ids=["sync", "async"])
def test_an_error_shows_once_with_the_line_of_the_cell_and_stops_the_notebook(kernel: Kernel, wait: str) -> None:
    ran = kernel.run(f"%%reproducible --seed 42\n\nif True:\n{wait or '    pass'}\n    1 / 0\n")

    assert ran.stopped
    assert ran.outputs == ["error"]
    ((name, traceback),) = ran.errors
    assert name == "ZeroDivisionError"
    line = 5 if not wait else 6
    assert re.search(rf"-> *{line} +1 */ *0", re.sub(r"\x1b\[[\d;]*m", "", traceback))
    assert kernel.value(OPEN) == 0


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("await asyncio.sleep(0)\nraise asyncio.CancelledError", "CancelledError"),
        ("1 +", "SyntaxError"),
        ("  1\n 2", "IndentationError"),
        ("return 3", "SyntaxError"),
    ],
)
def test_a_cell_that_is_cut_short_is_closed_and_stops_the_notebook(kernel: Kernel, body: str, name: str) -> None:
    ran = kernel.run(f"%%reproducible --seed 42\n{body}")

    assert ran.stopped
    assert [error for error, _ in ran.errors] == [name]
    assert kernel.value(OPEN) == 0


@pytest.mark.parametrize(
    ("wait", "name"),
    [
        ("import time; time.sleep(60)", "KeyboardInterrupt"),
        # The kernel's event loop sees an interrupt when something else wakes it up.
        ("for _ in range(600):\n    await asyncio.sleep(0.1)", "CancelledError"),
    ],
    ids=["sync", "async"],
)
def test_an_interrupted_cell_is_closed(kernel: Kernel, wait: str, name: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    ran = kernel.run_interrupted(
        f"%%reproducible --seed 42\nopen({str(started)!r}, 'w').close()\n{wait}\ntorch.rand(1)", started
    )

    assert ran.stopped
    assert [error for error, _ in ran.errors] == [name]
    assert kernel.value(OPEN) == 0
    # The handler that stood there is back: the next interrupt is the kernel's own business.
    assert kernel.value("import signal\nstr(signal.getsignal(signal.SIGINT))").find("deterministic") == -1


@pytest.mark.parametrize(
    "cell",
    [
        f"%%time\n%%reproducible --seed 42\ndrawn = ({DRAWS})",
        f"%%reproducible --seed 42\n%%time\ndrawn = ({DRAWS})",
        f"%%reproducible --seed 42\n\n%%time\ndrawn = ({DRAWS})",
        f"%%capture said\n%%reproducible --seed 42\ndrawn = ({DRAWS})\nprint(drawn)",
        f"%%reproducible --seed 42\n%%capture said\ndrawn = ({DRAWS})\nprint(drawn)",
        f"%%reproducible --seed 42\n%time drawn = ({DRAWS})",
        f"\n%%reproducible --seed 42\ndrawn = ({DRAWS})",
        f"%%reproducible --seed 7\n%%reproducible --seed 42\ndrawn = ({DRAWS})",
        f"%%reproducible --seed 7\nget_ipython().run_cell_magic('reproducible', '--seed 42', 'drawn = ({DRAWS})')",
        f"%%timeit -n 3 -r 2\n%%reproducible --seed 42\nglobal drawn; drawn = ({DRAWS})",
    ],
)
def test_other_magics_work_above_below_and_inside(kernel: Kernel, cell: str) -> None:
    expected = kernel.value(CELL)
    kernel.run("drawn = None")
    ran = kernel.run(cell)

    assert not ran.stopped, (ran.errors, ran.text("stderr"))
    assert kernel.value("drawn") == expected
    assert kernel.value(OPEN) == 0


def test_what_a_timed_cell_prints_shows(kernel: Kernel) -> None:
    assert "Wall time" in kernel.run("%%reproducible\n%%time\nx = 1").text()
    assert "Wall time" in kernel.run("%%time\n%%reproducible\nx = 1").text()


def test_strings_of_several_lines_stay_what_they_are(kernel: Kernel) -> None:
    text = "'''\n%%reproducible\n  kept\nindent'''"

    assert kernel.value(f"%%reproducible\n{text}") == kernel.value(f"x = {text}\nx")


def test_a_bad_option_stops_the_notebook_before_the_body_runs(kernel: Kernel) -> None:
    kernel.run("ran = False")
    ran = kernel.run("%%reproducible --seed oops\nran = True")

    assert ran.stopped
    assert ran.text("stderr").startswith("UsageError: %%reproducible --seed oops: argument --seed: found 'oops'")
    assert kernel.value("ran") is False


def test_a_background_task_draws_from_the_scope_of_the_cell_that_runs(kernel: Kernel) -> None:
    """A limit, which the documentation states: the generators are the process's own."""
    alone = kernel.value("%%reproducible --seed 42\n[random.random() for _ in range(3)]")
    kernel.run(
        "async def drain():\n    await asyncio.sleep(0.05)\n    random.random()\n"
        "async def three():\n    drawn = []\n    for _ in range(3):\n        drawn.append(random.random())\n"
        "        await asyncio.sleep(0.1)\n    return drawn"
    )
    disturbed = kernel.value("%%reproducible --seed 42\ntask = asyncio.create_task(drain())\nawait three()")

    assert disturbed != alone
    assert kernel.value("%%reproducible --seed 42\nawait three()") == alone


def test_a_background_task_that_runs_a_cell_leaves_the_scope_of_the_awaiting_one_open(kernel: Kernel) -> None:
    kernel.run("async def other():\n    await asyncio.sleep(0.05)\n    get_ipython().run_cell('x = 1')")
    inside = f"%%reproducible --seed 42\ntask = asyncio.create_task(other())\nawait asyncio.sleep(0.2)\n{OPEN}"

    assert kernel.value(inside) == 1


def test_a_task_of_another_cell_may_not_enter_a_scope_across_this_one(kernel: Kernel) -> None:
    kernel.run(
        "from deterministic import reproducible\nasync def other():\n    await asyncio.sleep(0.05)\n"
        "    with reproducible(seed=1):\n        await asyncio.sleep(0.5)"
    )
    cell = (
        "%%reproducible --seed 42\ntask = asyncio.create_task(other())\nawait asyncio.sleep(0.2)\nstr(task.exception())"
    )

    assert "another asyncio task has a scope open" in kernel.run(cell).shown()


def test_the_refusal_of_an_operation_shows_the_way_out(kernel: Kernel) -> None:
    ran = kernel.run(
        "%%reproducible\nx = torch.zeros(4)\nx.put_(torch.tensor([0]), torch.tensor([1.0]), accumulate=False)\n"
    )

    ((name, traceback),) = ran.errors
    assert name == "RuntimeError"
    assert "with run.allow_nondeterministic()" in traceback
    assert kernel.value("get_ipython().custom_exceptions") == ()


def test_the_reports_show_themselves_as_html(kernel: Kernel) -> None:
    kernel.run("from deterministic import current_run, verify\ndef draw():\n    return torch.rand(3)")

    assert "<table>" in kernel.run("%%reproducible --seed 42\ncurrent_run().report()").shown("text/html")
    assert "bit-exact" in kernel.run("verify(draw, runs=2)").shown("text/html")
    assert "entered at Cell In[" in kernel.run("%reproducible report").shown("text/html")


def test_a_verdict_names_the_cell_its_line_and_its_text(kernel: Kernel) -> None:
    kernel.run(
        "from deterministic import verify\nimport numpy as np\ndef draw():\n"
        "    return torch.from_numpy(np.random.default_rng().random(3)) * 2"
    )
    shown = kernel.run("print(verify(draw, runs=2))").text()
    assert re.search(r"line +Cell In\[\d+\]:4 in draw   return torch\.from_numpy\(", shown)


def test_a_cell_that_was_edited_below_a_comment_line_is_the_same_and_a_change_has_the_lines_of_both(
    kernel: Kernel, tmp_path: Path
) -> None:
    for name, comment, factor in (("a", "", 2.0), ("b", "# a comment\n", 2.0), ("c", "# a comment\n", 3.0)):
        kernel.run(
            f"from deterministic import diff, record, reproducible\n{comment}"
            f"def train():\n    return torch.ones(3).mul({factor}).sum()\n"
            f"with reproducible(seed=0), record({str(tmp_path / name)!r}):\n    train()"
        )
    assert kernel.value(f"diff({str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}).outcome") == "same"
    shown = kernel.run(f"print(diff({str(tmp_path / 'a')!r}, {str(tmp_path / 'c')!r}))").text()
    assert re.search(r"line +Cell In\[\d+\]:3 in train   return torch.ones\(3\).mul\(2.0\).sum\(\)", shown)
    assert re.search(r"other line +Cell In\[\d+\]:4 in train   return torch.ones\(3\).mul\(3.0\).sum\(\)", shown)


def test_the_report_names_a_loader_of_another_cell(kernel: Kernel) -> None:
    kernel.run(
        "%%reproducible --seed 42\nfrom deterministic import make_loader\n"
        "loader = make_loader(list(range(6)), batch_size=3, shuffle=True)"
    )
    iterate = "%%reproducible --seed 42\n[batch.tolist() for batch in loader]"

    assert kernel.value(iterate) != kernel.value(iterate)  # the second epoch of the same loader
    report = kernel.run("%reproducible report").shown("text/html")
    assert re.search(r"<b>loaders</b>.*epochs 0-1: 2 batches each", report)
    assert "Made outside of this scope" in report
    assert re.search(r"Cell In\[\d+\]:3: seed 42", report)
