"""One run of a task at one level of determinism: timed, its memory measured, profiled, or compared with others.

`torch.utils.benchmark` is no help: its `timeit` runs twice before each measurement, and its clock begins to use a GPU
that the task does not.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch

from ..ground.config import Level
from ..ground.launch import HASH_SEED
from ..scope.reproducible import reproducible
from .isolated import IsolatedRuns
from .performing import in_this_process
from .processes import RunFailedError, answer_in, last_lines, leave_answer, started
from .report import Report
from .runs import Task
from .scripts import NotRunnableError, ScriptTask, show
from .verification import Verification

try:
    from resource import RUSAGE_SELF, getrusage
except ImportError:  # Windows does not tell
    getrusage = None  # type: ignore[assignment]

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"

_Measure: TypeAlias = Callable[[Callable[[], Any], Level], Any]  # `seconds_of`, or one like it

RESIDENT = "the peak of the process's resident set, above where it stood as the run began"
HIGHEST = "how far the run raised the highest resident set that the process ever had: nothing if an earlier one did"
ALLOCATED = "the peak of what torch allocated on CUDA devices, above what it held as the run began"


class Peak(NamedTuple):
    """How many bytes of memory were held at the peak of a run, above where it began."""

    host: int | None  # None if the system does not tell
    cuda: int | None  # of all devices together; None if CUDA was not used
    how: str  # what `host` is


class Profile(NamedTuple):
    """What the operations of a run took on a device, "cpu" or "cuda", each without what it called."""

    device: str
    seconds: Mapping[str, float]


class Trials:
    """Runs a task at a level, from its beginning each time. What the task raises comes out of each of its methods."""

    where = "in this process"

    def __init__(self, task: Task) -> None:
        self._task = task
        self.title = task.title

    def seconds(self, level: Level) -> float:
        """Run it with nothing else going on, and return how long it took."""
        return float(self._measured(seconds_of, level))

    def peak(self, level: Level) -> Peak:
        return Peak(*self._measured(_peak_at, level))

    def profile(self, level: Level) -> Profile:
        return Profile(*self._measured(profile_of, level))

    def verify(self, level: Level, runs: int, folder: Path) -> Report:
        """Run it several times, and return whether it was bit-exact."""
        run = in_this_process(self._task)
        return Verification(self.title, run, runs, folder, reproducible(deterministic=level), fresh="").report()

    def _measured(self, measure: _Measure, level: Level) -> Any:
        return measure(self._task.run, level)


class FreshTrials(Trials):
    """Trials of a script, each in a process of its own, seeded as `deterministic run` does it."""

    where = "each in a fresh interpreter"
    _task: ScriptTask

    def verify(self, level: Level, runs: int, folder: Path) -> Report:
        control = reproducible(deterministic=level)
        with IsolatedRuns(self._task, stress=False, timeout=None) as run:
            return Verification(self.title, run, runs, folder, control, compares_output=True).report()

    def _measured(self, measure: _Measure, level: Level) -> Any:
        with tempfile.TemporaryDirectory(prefix="deterministic-") as temporary:
            folder = Path(temporary)
            with open(folder / "log", "wb") as log:
                job = partial(_leave_measured, self._task, measure, level)
                with started(job, folder, {HASH_SEED: "0", **os.environ}, log, log) as child:
                    child.wait()
            unknown = f"it ended with status {child.returncode} before it could be measured"
            value, raised = answer_in(folder) or (None, unknown)
            lines = last_lines([folder / "log"])
        if isinstance(raised, NotRunnableError):
            raise raised
        if raised:
            raise RunFailedError(raised, (f"in: {self.title}", *lines), "Fix it, and measure again.")
        return value


def _leave_measured(task: ScriptTask, measure: _Measure, level: Level, folder: Path) -> None:
    """Measure a script in this interpreter, and leave what was measured and what was raised, of which one is None."""
    own_process = os.getpid()
    value: Any = None
    raised: str | NotRunnableError | None = None
    try:
        value = measure(task.run, level)
    except NotRunnableError as error:
        raised = error
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent tells of it, whatever it is
        raised = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        show(error)
    if os.getpid() == own_process:  # else the script forked, and this is the copy
        leave_answer(folder, (value, raised))


def seconds_of(run: Callable[[], Any], level: Level) -> float:
    """Return how long something takes at a level, to the end of what it left to a device."""
    with reproducible(deterministic=level):
        _wait_for_device()
        began = time.perf_counter()
        run()
        _wait_for_device()
        return time.perf_counter() - began


def profile_of(run: Callable[[], Any], level: Level) -> Profile:
    """Return what the operations of something take at a level: on CUDA devices if it uses any, else on the CPU."""
    may_use_cuda = torch.cuda.is_available()
    if may_use_cuda:
        with _profiler(may_use_cuda):
            torch.zeros(())  # the first of all waits for the device's own profiler
    with reproducible(deterministic=level), _profiler(may_use_cuda) as profiler:
        run()
        _wait_for_device()
    # Kernels are counted at the operation that launched them.
    operations = [average for average in profiler.key_averages() if average.device_type.name == "CPU"]
    for device, attribute in (("cuda", "self_device_time_total"), ("cpu", "self_cpu_time_total")):
        seconds = {average.key: getattr(average, attribute) / 1e6 for average in operations}
        if any(seconds.values()):
            return Profile(device, {name: taken for name, taken in seconds.items() if taken})
    return Profile("cpu", {})


def _profiler(may_use_cuda: bool) -> Any:
    if not may_use_cuda:
        # torch.profiler.profile asks libkineto for devices, which takes seconds the first time.
        return torch.autograd.profiler.profile(use_kineto=False)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    return torch.profiler.profile(activities=activities)


def _wait_for_device() -> None:
    """Wait for what has been launched; without creating a context on a device that was not used."""
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            if torch.cuda.memory_reserved(device):
                torch.cuda.synchronize(device)
    elif torch.accelerator.is_available() and not torch.cuda.is_available():
        torch.accelerator.synchronize()


def _peak_at(run: Callable[[], Any], level: Level) -> Peak:
    with reproducible(deterministic=level):
        return peak_of(run)


def peak_of(run: Callable[[], Any]) -> Peak:
    """Run something, and return how much memory it took at its peak.

    The peak statistics of CUDA devices, and of this process on Linux, begin anew.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)  # else a run would find there what the one before it freed
    before = 0
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
        before = sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))
    host, how = _host_peak()
    run()
    cuda = None
    if torch.cuda.is_initialized():
        cuda = sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count()))) - before or None
    return Peak(host(), cuda, how)


def _host_peak() -> tuple[Callable[[], int | None], str]:
    """Begin to measure, and return what tells the bytes, and what they are."""
    with suppress(OSError):  # not Linux, or not allowed
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        before = _status("VmRSS")
        # The kernel's peak can lag a little behind.
        return lambda: max(_status("VmHWM"), _status("VmRSS")) - before, RESIDENT
    if getrusage is None:
        return lambda: None, ""
    highest = _highest()
    return lambda: _highest() - highest, HIGHEST


def _status(name: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _highest() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
