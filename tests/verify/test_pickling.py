"""Functions on the way to a fresh interpreter, and what they raise on the way back."""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable
from multiprocessing import process
from pathlib import Path
from types import ModuleType

import pytest

from deterministic import reproducible
from deterministic.errors import DeterministicError
from deterministic.verification.isolated import IsolatedRuns, control_for_job
from deterministic.verification.processes import RunFailedError
from deterministic.verification.runs import FunctionTask
from deterministic.verification.verification import Verification

from ..processes import run_python
from . import functions
from .repetitions import run_once


@pytest.mark.usefixtures("warm_pythons")
def test_a_function_gets_its_arguments_as_they_were_and_tells_its_steps(tmp_path: Path) -> None:
    data = [1.0, 2.0]
    isolated = IsolatedRuns(FunctionTask(functions.train, (30, data), {"scale": 0.1}), stress=False, timeout=None)
    data.clear()
    told: list[tuple[str, int]] = []
    report = Verification(
        "train", isolated, 2, tmp_path, progress=lambda what, steps: told.append((what, steps))
    ).report()
    assert report.outcome == "same", report
    assert report.steps == 30
    assert told[0] == ("run 1 of 2", 0)
    assert ("run 1 of 2", 30) in told
    assert ("run 2 of 2", 30) in told


@pytest.mark.usefixtures("warm_pythons")
def test_the_exception_of_a_function_is_the_callers(tmp_path: Path) -> None:
    done = run_once(FunctionTask(functions.refuse), tmp_path / "run.trace")
    assert isinstance(done.error, LookupError)
    assert str(done.error) == "nothing there"
    assert isinstance(done.error.__cause__, RunFailedError)
    assert 'raise LookupError("nothing there")' in str(done.error.__cause__)


def test_an_exception_that_cannot_be_made_again_is_told_of(tmp_path: Path) -> None:
    done = run_once(FunctionTask(functions.refuse_unlike), tmp_path / "run.trace")
    assert done.raised == "UnlikeItsArguments"
    assert isinstance(done.error, RunFailedError)
    assert "found: UnlikeItsArguments\n  Traceback" in str(done.error)
    assert "UnlikeItsArguments: 1 and 2\n" in str(done.error)


def test_a_function_of_the_main_module_is_found_and_its_main_part_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing
from pathlib import Path
import torch

here = Path(__file__).parent

def draw():
    return torch.rand(2)

with open(here / "names", "a") as file:
    print(__name__, file=file)

if __name__ == "__main__":
    from deterministic.verification.isolated import IsolatedRuns, _preparation
    from deterministic.verification.runs import Plan
    from deterministic.verification.runs import FunctionTask

    assert "authkey" not in _preparation()
    assert multiprocessing.get_start_method(allow_none=True) is None  # asking has not settled it
    done = IsolatedRuns(FunctionTask(draw), stress=False, timeout=None)(0, Plan(here / "run.trace", True), print)
    assert done.raised is None and not done.cut, done
"""
    )
    run_python(f"import subprocess, sys; subprocess.run([sys.executable, {str(script)!r}], check=True)")
    assert (tmp_path / "names").read_text() == "__main__\n__mp_main__\n"


def local() -> Callable[[], int]:
    def inner() -> int:
        return 1

    return inner


@pytest.mark.parametrize("function", [lambda: 1, local()])
def test_what_cannot_be_imported_is_refused_before_anything_runs(function: Callable[[], int]) -> None:
    with pytest.raises(TypeError, match="cannot import this function") as refused:
        IsolatedRuns(FunctionTask(function), stress=False, timeout=None)
    assert (
        str(refused.value).splitlines()[-1] == "Define it in a file, at its top level, or leave isolate and stress out."
    )
    assert function.__qualname__ in str(refused.value)


def typed_into_a_notebook() -> None:
    pass


@pytest.mark.parametrize("file", [None, "<stdin>"])
def test_a_function_of_a_notebook_is_refused(file: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    main.typed_into_a_notebook = typed_into_a_notebook  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(typed_into_a_notebook, "__module__", "__main__")
    with pytest.raises(TypeError, match="a main module that has no file"):
        IsolatedRuns(FunctionTask(typed_into_a_notebook), stress=False, timeout=None)


def test_an_argument_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match="an argument cannot be sent to a fresh interpreter"):
        IsolatedRuns(FunctionTask(functions.train, (lambda: 1,)), stress=False, timeout=None)


def test_a_decorated_function_can_be_sent() -> None:
    isolated = IsolatedRuns(FunctionTask(functions.decorated), stress=False, timeout=None)
    assert isinstance(isolated._task, bytes)
    assert pickle.loads(isolated._task).function is functions.decorated


def test_a_main_module_without_a_guard_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(DeterministicError, match='under `if __name__ == "__main__":`'):
        IsolatedRuns(FunctionTask(functions.refuse), stress=False, timeout=None)


def test_the_enclosing_scope_is_known_to_the_other_process() -> None:
    assert control_for_job(False) is None
    assert control_for_job(reproducible(enabled=False)) is None
    assert control_for_job(reproducible(7, deterministic="warn", num_threads=2)) == {
        "seed": 7,
        "deterministic": "warn",
        "num_threads": 2,
        "per_rank": False,
        "entropy": None,
    }
    assert "seed" not in (control_for_job(True) or {})
    with reproducible(3, deterministic=False):
        assert (control_for_job(True) or {})["seed"] == 3
        assert (control_for_job(reproducible(4)) or {})["seed"] == 4
        assert (control_for_job(reproducible(None)) or {})["seed"] is None


def test_generators_of_the_scope_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="a fresh interpreter has other generators"):
        control_for_job(reproducible(1, generators=[random.Random(1)]))
