"""Repetitions in fresh interpreters: how they end is known, and nothing outlives them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deterministic.trace.comparing.diff import diff_files
from deterministic.trace.file.store import TraceReader
from deterministic.verification.isolated import IsolatedRuns
from deterministic.verification.performing import perform
from deterministic.verification.processes import RunFailedError
from deterministic.verification.runs import Done, FunctionTask, Plan
from deterministic.verification.scripts import ScriptTask
from deterministic.verification.verification import Verification

from ..compiling import needs_a_compiler, run_inductor
from ..processes import ROOT
from . import functions
from .repetitions import footer_of, run_once

ENDS = """
import os, signal, sys, time
import torch
torch.set_num_threads(1)
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], lr=0.1)
for _ in range(2):
    weight.grad = torch.ones(2)
    optimizer.step()
print("before the end")
{end}
"""


@pytest.mark.parametrize(
    ("end", "raised", "in_footer"),
    [
        ("sys.exit(3)", "SystemExit", "SystemExit"),
        ("raise LookupError('nothing there')", "LookupError", "LookupError"),
        ("os._exit(0)", None, None),
    ],
)
@pytest.mark.usefixtures("warm_pythons")
def test_how_a_script_ends_is_known(end: str, raised: str | None, in_footer: str | None, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDS.format(end=end))
    seen: list[int] = []
    done = run_once(ScriptTask(str(script)), tmp_path / "run.trace", on_step=seen.append)
    assert (done.raised, list(done.cut)) == (raised, [])
    footer = footer_of(tmp_path / "run.trace")
    assert (footer["raised"], footer["steps"]) == (in_footer, 2)
    assert seen[-1:] == [2]
    assert (tmp_path / "run.out").read_text() == "before the end\n"
    output = (tmp_path / "run.log").read_text()
    if raised == "LookupError":
        assert f'File "{script}", line 11, in <module>' in output
        assert "verification" not in output
        assert isinstance(done.error, RunFailedError)
        assert "LookupError: nothing there" in str(done.error)


def test_a_killed_script_leaves_its_steps_and_the_reason(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    # The copy that a fork makes has nothing to tell, though it ends well.
    end = "pid = os.fork()\nif pid == 0: sys.exit(0)\nos.waitpid(pid, 0)\nos.kill(os.getpid(), signal.SIGSEGV)"
    script.write_text(ENDS.format(end=end))
    done = run_once(ScriptTask(str(script)), tmp_path / "run.trace")
    assert done.cut[0] == "was killed by SIGSEGV"
    assert "before the end" in done.cut
    assert f'  File "{script}", line 14 in <module>' in done.cut  # faulthandler's
    assert not any(part in line for line in done.cut for part in ("verification", "<string>", "Extension modules"))
    assert done.error is None
    with TraceReader(tmp_path / "run.trace") as reader:
        assert len(list(reader.segments())) == 2
        assert reader.footer is None


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run_once(FunctionTask(time.sleep, (600,)), tmp_path / "run.trace", timeout=0.3)
    assert done.cut[0] == "was ended after 0.3 seconds, the timeout"
    assert not (tmp_path / "run.trace").exists()
    assert time.monotonic() - started < 60


def test_an_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    end = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open({str(tmp_path / "pid")!r}, "w") as file:
    file.write(str(child.pid))
optimizer.step()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""
    script.write_text(ENDS.format(end=end))

    def interrupt(steps: int) -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_once(ScriptTask(str(script)), tmp_path / "run.trace", on_step=interrupt)
    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.mark.usefixtures("warm_pythons")
def test_what_was_there_before_the_script_is_not_searched_for_garbage_and_its_own_is(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    searched = '"RepetitionJob" in {type(one).__name__ for one in gc.get_objects()}'
    script.write_text(f"import gc\nprint(gc.isenabled(), {searched})\n")
    run_once(ScriptTask(str(script)), tmp_path / "run.trace")
    assert (tmp_path / "run.out").read_text() == "True False\n"


@pytest.mark.usefixtures("warm_pythons")
def test_the_next_interpreter_is_ready_and_its_run_is_as_any_other(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDS.format(end="print(os.getpid(), repr(sys.stdin.read())); sys.stderr.write('told\\n')"))
    plans = [Plan(tmp_path / f"run{number}.trace", True, more=number < 2) for number in range(3)]
    made = []
    with IsolatedRuns(ScriptTask(str(script)), stress=False, timeout=None, jobs=2) as run:
        for number, plan in enumerate(plans):
            ready = run._ready
            assert run(number, plan, lambda steps: None).raised is None
            pid = plan.path.with_suffix(".out").read_text().splitlines()[-1]
            assert pid.endswith(" ''")
            assert ready is None or str(ready.child.pid) == pid.split()[0]
            made.append(ready is not None)
    assert made == [False, True, True]
    assert [plan.path.with_suffix(".log").read_text() for plan in plans] == ["told\n"] * 3
    assert diff_files(plans[0].path, plans[2].path, ("0", "2")).outcome == "same"


@pytest.mark.usefixtures("warm_pythons")
@pytest.mark.parametrize("is_used", [False, True], ids=["not used", "other variables"])
def test_an_interpreter_that_is_ready_for_nothing_is_ended(
    is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IsolatedRuns(FunctionTask(time.sleep, (0,)), stress=False, timeout=None, jobs=2) as run:
        run(0, Plan(tmp_path / "run1.trace", True, more=True), lambda steps: None)
        ready = run._ready
        assert ready is not None
        assert ready.child.poll() is None
        if is_used:
            monkeypatch.setenv("NOTHING_READS_THIS", "0")
            run(1, Plan(tmp_path / "run2.trace", False), lambda steps: None)
            assert ready.child.poll() is not None
    assert not is_running(ready.child.pid)
    assert not ready.folder.exists()


def test_one_job_makes_nothing_ready(tmp_path: Path) -> None:
    with IsolatedRuns(FunctionTask(time.sleep, (0,)), stress=False, timeout=None, jobs=1) as run:
        run(0, Plan(tmp_path / "run1.trace", True, more=True), lambda steps: None)
        assert run._ready is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone ends a process with its parent")
def test_a_run_ends_with_a_parent_that_is_killed() -> None:
    child = "import os, time; from deterministic.verification.processes import _end_with; _end_with(os.getppid()); "
    child += "print(os.getpid(), flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return False  # nobody has waited for it yet
        time.sleep(0.05)
    return True


# What a verification makes of runs.


@pytest.mark.parametrize(("steps", "outcome"), [(2, "same"), (0, "could not tell")])
def test_work_in_child_processes_leaves_it_open_where_no_step_was_compared(
    steps: int, outcome: str, tmp_path: Path
) -> None:
    def run(repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        done = perform(FunctionTask(functions.train, (steps, [1.0]), {"scale": 0.1}), plan, on_step)
        done.is_thin, done.children_share = True, 0.9
        return done

    report = Verification("train", run, 2, tmp_path).report()
    assert report.outcome == outcome
    assert "Child processes did" in str(report)


COMPILES = """
import torch
import torch._inductor.config
from deterministic import verify

torch._inductor.config.cpp_cache_precompile_headers = False
torch._inductor.config.force_disable_caches = True  # so that every run compiles

def run():
    torch._dynamo.reset()
    found = torch.compile(lambda x: (x.sin() * 2).cumsum(0))(torch.rand(64))
    return bool(found.sum() > 0)

print(verify(run, runs=2))
"""


@pytest.mark.slow
@needs_a_compiler
def test_the_compilers_of_inductor_are_no_child_processes_that_did_the_work(inductor_cache: Path) -> None:
    assert run_inductor(COMPILES, inductor_cache) == "bit-exact: 2 runs of run"


def test_child_processes_of_one_run_alone_did_not_do_the_work(tmp_path: Path) -> None:
    def run(repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        done = perform(FunctionTask(functions.decorated), plan, on_step)
        done.is_thin, done.children_share = True, 0.0 if repetition else 0.9
        return done

    assert str(Verification("decorated", run, 2, tmp_path).report()) == "bit-exact: 2 runs of decorated"


class Cut:
    """Runs all but one repetition here."""

    def __init__(self, number: int, *, leaves_trace: bool) -> None:
        self._number, self._leaves_trace = number, leaves_trace

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        done = perform(FunctionTask(functions.train, (2, [1.0]), {"scale": 0.1}), plan, on_step)
        if repetition == self._number:
            if not self._leaves_trace:
                plan.path.unlink()
            done.cut = ["was ended after 1 seconds, the timeout", "its last line"]
        return done


@pytest.mark.parametrize(("number", "runs", "leaves_trace"), [(0, 1, True), (0, 1, False), (1, 2, True), (1, 2, False)])
def test_a_run_that_was_cut_leaves_it_open(number: int, runs: int, leaves_trace: bool, tmp_path: Path) -> None:
    report = Verification("train", Cut(number, leaves_trace=leaves_trace), 3, tmp_path).report()
    assert report.outcome == "could not tell"
    assert report.exit_code == 2
    if not leaves_trace:
        assert report.runs == runs
    assert f"run {number + 1} was ended after 1 seconds, the timeout; the last lines of its output:" in report.reasons
    assert "    its last line" in str(report)
