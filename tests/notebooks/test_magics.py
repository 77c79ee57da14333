"""The magics in a shell of this process: options, the lines they are rewritten into, `on` and `off`, nesting."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import torch
from IPython.core.error import UsageError

from deterministic import reproducible
from deterministic.errors import ScopeConflictError, ScopeOrderWarning
from deterministic.ipython.code import FirstLine, scope_of
from deterministic.scope import stack

from ..processes import run_python
from .kernels import drawn, new_shell
from .kernels import run_in as run


def test_loading_the_extension_imports_neither_torch_nor_numpy() -> None:
    code = (
        "from tests.notebooks.kernels import new_shell; import sys\n"
        "shell = new_shell(); shell.extension_manager.load_extension('deterministic')\n"
        "for line in ('on --seed 7', '', 'off'): shell.run_cell(f'%reproducible {line}')\n"
        "before = sorted({'torch', 'numpy'} & set(sys.modules))\n"
        "shell.run_cell('%%reproducible\\n1'); print(before, 'torch' in sys.modules)"
    )
    assert run_python(code).splitlines()[-1] == "[] True"


def state_of(shell: Any) -> Any:
    magics = {kind: dict(found) for kind, found in shell.magics_manager.magics.items()}
    events = {name: list(found) for name, found in shell.events.callbacks.items()}
    return magics, events, list(shell.input_transformers_cleanup), list(shell.ast_transformers), shell.custom_exceptions


def test_the_extension_is_loaded_once_and_unloaded_whole() -> None:
    shell = new_shell()
    extensions = shell.extension_manager
    before = state_of(shell)

    extensions.load_extension("deterministic")
    loaded = state_of(shell)
    extensions.load_extension("deterministic")
    extensions.load_extension("deterministic.ipython")  # by its other name
    assert state_of(shell) == loaded

    extensions.reload_extension("deterministic")
    again = state_of(shell)
    assert again[0].keys() == loaded[0].keys()
    assert [len(found) for found in again[2:4]] == [len(found) for found in loaded[2:4]]
    assert run(shell, "%%reproducible --seed 42\nimport random\nrandom.random()") == drawn(42)

    extensions.unload_extension("deterministic")
    extensions.unload_extension("deterministic.ipython")
    assert state_of(shell) == before


def test_unloading_within_a_scope_closes_it(shell: Any) -> None:
    cell = "%%reproducible\n%unload_ext deterministic\nfrom deterministic.scope import stack\nlen(stack._entries)"

    assert run(shell, cell) == 0
    shell.extension_manager.load_extension("deterministic")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", reproducible()),
        ("--seed 0", reproducible(seed=0)),
        (f"--seed={2**64 - 1}", reproducible(seed=2**64 - 1)),
        ("--seed none", reproducible(seed=None)),
        ("--deterministic warn --seed '7'", reproducible(seed=7, deterministic="warn")),
        ("--deterministic True", reproducible(deterministic=True)),
        ("--deterministic cudnn", reproducible(deterministic="cudnn")),
        ("--deterministic false --num-threads 1", reproducible(deterministic=False, num_threads=1)),
    ],
)
def test_options_are_those_of_reproducible(line: str, expected: Any) -> None:
    assert scope_of(line).config() == expected.config()


BAD = {
    "--seed oops": "found 'oops', expected 0 <= N < 2**64, or none",
    "--seed -1": "found '-1'",
    f"--seed {2**64}": "found '18446744073709551616'",
    "--seed 4.2": "found '4.2'",
    "--seed $unknown": "found '$unknown'",
    "--seed": "expected one argument",
    "--se 1": "unrecognized arguments: --se",
    "--deterministic maybe": "found 'maybe', expected false, cudnn, true, warn",
    "--num-threads 0": "found '0', expected 1 or more",
    "on": "unrecognized arguments: on",
    "--seed '4": "No closing quotation",
}


@pytest.mark.parametrize(("line", "said"), BAD.items(), ids=BAD)
@pytest.mark.parametrize("form", ["%%reproducible {}\nran = True", "%reproducible on {}\nran = True"])
def test_a_bad_option_is_told_in_one_line_and_nothing_runs(shell: Any, form: str, line: str, said: str) -> None:
    result = shell.run_cell(form.format(line))

    assert type(result.error_in_exec) is UsageError
    assert said in str(result.error_in_exec)
    assert "\n" not in str(result.error_in_exec)
    assert "ran" not in shell.user_ns
    assert stack.innermost() is None


@pytest.mark.parametrize("line", ["7", "--seed 7", "of", "off 3", "report x"])
def test_a_line_that_means_nothing_is_told(shell: Any, line: str) -> None:
    result = shell.run_cell(f"%reproducible {line}")

    assert type(result.error_in_exec) is UsageError
    assert "make its first line %%reproducible" in str(result.error_in_exec)


ENTER = "get_ipython().run_line_magic('_reproducible_enter', {!r})\n"


@pytest.mark.parametrize(
    ("cell", "rewritten"),
    [
        ("%%reproducible\nx", ENTER.format("") + "x"),
        ("%%reproducible  --seed 7 \nx\n%%y", ENTER.format("--seed 7") + "x\n%%y"),
        ("%%reproducible\n%%t -n\nx\ny", ENTER.format("") + "get_ipython().run_cell_magic('t', '-n', 'x\\ny')\n"),
        ("%%reproducible\n \n%%t\nx", ENTER.format("") + " \nget_ipython().run_cell_magic('t', '', 'x')\n"),
        *(
            (cell, cell)
            for cell in ["", "%%reproducible", "%%reproducible\n \n", "%%reproducible?\n", "%%reproducibles\nx"]
        ),
        *((cell, cell) for cell in ["x\n%%reproducible\ny", "%reproducible on\nx", "'''\n%%reproducible\n'''"]),
    ],
)
def test_the_first_line_is_rewritten_and_no_other(cell: str, rewritten: str) -> None:
    assert "".join(FirstLine()(cell.splitlines(keepends=True))) == rewritten


def test_a_terminal_waits_for_the_end_of_the_cell(shell: Any) -> None:
    assert shell.check_complete("%%reproducible --seed 42")[0] == "incomplete"
    assert shell.check_complete("%%reproducible --seed 42\nx = 1")[0] == "incomplete"
    assert shell.check_complete("%%reproducible --seed 42\nx = 1\n\n")[0] == "complete"


def test_the_magic_has_a_help_text(shell: Any) -> None:
    for name in ("%%reproducible", "%reproducible"):
        assert "--deterministic LEVEL" in shell.object_inspect(name)["docstring"]


def test_the_line_takes_variables(shell: Any) -> None:
    shell.run_cell("import random; seed = 7")

    assert run(shell, "%%reproducible --seed $seed\nrandom.random()") == drawn(7)
    assert run(shell, "%%reproducible --seed {seed + 1}\nrandom.random()") == drawn(8)


def test_a_silent_cell_is_closed(shell: Any) -> None:
    shell.run_cell("%%reproducible\nx = 1", silent=True)

    assert stack.innermost() is None


def test_a_cell_that_runs_another_stays_open_and_goes_on(shell: Any) -> None:
    cell = (
        "%%reproducible --seed 42\nimport random\nshell = get_ipython(); first = random.random()\n"
        "shell.run_cell('%%reproducible --seed 7\\ninner = random.random()')\n"
        "shell.run_cell('1 / 0', silent=True)\n"
        "shell.run_cell_magic('reproducible', '--seed 8', 'deep = random.random()')\n"
        "try:\n    shell.run_cell_magic('reproducible', '--seed 9', '1 / 0')\nexcept ZeroDivisionError:\n    pass\n"
        "found = (first, inner, deep, random.random())"
    )
    by_hand = random.Random(42)
    run(shell, cell)

    assert shell.user_ns["found"] == (by_hand.random(), drawn(7), drawn(8), by_hand.random())


def test_a_cell_given_as_text_shows_its_value_and_raises(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    magic = "import random\nget_ipython().run_cell_magic('reproducible', '--seed 42', {!r})"
    run(shell, magic.format("if True:\n    x = random.random()\nx"))
    assert str(drawn(42)) in capsys.readouterr().out

    result = shell.run_cell(magic.format("y = 1\n1 / 0"))
    assert type(result.error_in_exec) is ZeroDivisionError
    assert stack.innermost() is None


def test_outside_of_a_cell_nothing_is_opened(shell: Any) -> None:
    with pytest.raises(UsageError, match="works in a cell"):
        shell.run_line_magic("_reproducible_enter", "")
    assert stack.innermost() is None


def test_a_scope_that_was_left_open_is_closed_by_the_next_cell(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = shell.events.trigger
    monkeypatch.setattr(shell.events, "trigger", lambda event, *info: event == "post_execute" or trigger(event, *info))
    shell.run_cell("%%reproducible\nx = 1")
    assert stack.innermost() is not None
    monkeypatch.undo()

    with pytest.warns(ScopeOrderWarning, match="the scope of an earlier cell was still open"):
        run(shell, "y = 1")
    assert stack.innermost() is None


def test_a_cell_while_another_thread_has_a_scope_open_is_refused(shell: Any) -> None:
    opened, close = threading.Event(), threading.Event()

    def hold() -> None:
        with reproducible(seed=1):
            opened.set()
            close.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    opened.wait(60)
    try:
        result = shell.run_cell("%%reproducible\nran = True")
        assert type(result.error_in_exec) is ScopeConflictError
        assert "wanted: a scope at Cell In[" in str(result.error_in_exec)
        shell.run_cell("%reproducible on")
        assert type(shell.run_cell("ran = True").error_in_exec) is ScopeConflictError
        run(shell, "%reproducible off")  # at any moment
        assert "ran" not in shell.user_ns
    finally:
        close.set()
        thread.join()


def test_a_handler_of_the_users_own_for_errors_stays(shell: Any) -> None:
    seen = []
    shell.set_custom_exc((RuntimeError,), lambda shell, kind, error, traceback, tb_offset=None: seen.append(error))
    handler = shell.CustomTB
    shell.run_cell("%%reproducible\nraise RuntimeError('mine')")

    assert [str(error) for error in seen] == ["mine"]
    assert shell.CustomTB is handler


def test_a_handler_set_within_a_cell_stays(shell: Any) -> None:
    shell.run_cell("%%reproducible\nget_ipython().set_custom_exc((KeyError,), lambda *a, tb_offset=None: None)")

    assert shell.custom_exceptions == (KeyError,)


def test_an_omitted_seed_is_42_or_that_of_the_enclosing_scope(shell: Any) -> None:
    assert run(shell, "%%reproducible\nimport random\nrandom.random()") == drawn(42)
    with reproducible(seed=9):
        assert run(shell, "%%reproducible\nrandom.random()") == drawn(9)
        run(shell, "%reproducible on")
        assert run(shell, "random.random()") == drawn(9)


def test_the_settings_are_those_that_were_asked_for(shell: Any) -> None:
    shell.run_cell("import torch\nasked = torch.are_deterministic_algorithms_enabled, torch.get_num_threads")
    before = torch.get_num_threads()

    assert run(shell, "%%reproducible --num-threads 1\n[ask() for ask in asked]") == [True, 1]
    assert run(shell, "%%reproducible --deterministic false\n[ask() for ask in asked]") == [False, before]


def test_a_cell_of_another_thread_ends_without_closing_this_one(shell: Any) -> None:
    """As a subshell of ipykernel runs cells."""
    cell = (
        "%%reproducible --seed 42\nimport random, threading\nfrom deterministic.scope import stack\n"
        "thread = threading.Thread(target=get_ipython().run_cell, args=('y = 1',)); thread.start(); thread.join()\n"
        "found = (y, len(stack._entries), random.random())"
    )
    run(shell, cell)

    assert shell.user_ns["found"] == (1, 1, drawn(42))


def test_a_loop_over_a_cell_does_not_pile_up_scopes(shell: Any) -> None:
    run(shell, "from deterministic.scope import stack\nfound = []")
    run(shell, "%%timeit -n 3 -r 1\n%%reproducible --seed 42\nfound.append(len(stack._entries))")

    assert shell.user_ns["found"] == [1, 1, 1]
