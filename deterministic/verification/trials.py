"""One run of a task at one level of determinism: timed, its memory measured, profiled, or compared with others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from ..ground.config import Level
from ..scope.reproducible import reproducible
from .memory import Peak, peak_of
from .report import Report
from .runs import Done, Plan, perform
from .tasks import Task
from .verification import Verification


class Profile(NamedTuple):
    """What the operations of a run took.

    Attributes:
        device: "cpu" or "cuda".
        seconds: By operation, without what it called.
    """

    device: str
    seconds: Mapping[str, float]


class Trials(Protocol):
    """Runs a task at a level, from its beginning each time. What the task raises comes out of each of these."""

    @property
    def title(self) -> str:
        """What is run."""

    @property
    def where(self) -> str:
        """In which processes."""

    def seconds(self, level: Level) -> float:
        """Run it with nothing else going on, and return how long it took."""

    def peak(self, level: Level) -> Peak:
        """Run it, and return how much memory it took."""

    def profile(self, level: Level) -> Profile:
        """Run it, and return what its operations took."""

    def verify(self, level: Level, runs: int, folder: Path) -> Report:
        """Run it several times, and return whether it was bit-exact."""


class TrialsHere:
    """Trials in this process.

    Args:
        task: What to run.
    """

    where = "in this process"

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def title(self) -> str:
        return self._task.title

    def seconds(self, level: Level) -> float:
        return seconds_of(self._task.run, level)

    def peak(self, level: Level) -> Peak:
        with reproducible(deterministic=level):
            return peak_of(self._task.run)

    def profile(self, level: Level) -> Profile:
        return profile_of(self._task.run, level)

    def verify(self, level: Level, runs: int, folder: Path) -> Report:
        def run(repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
            return perform(self._task, plan, on_step)

        return Verification(self.title, run, runs, folder, reproducible(deterministic=level), fresh="").report()


def seconds_of(run: Callable[[], Any], level: Level) -> float:
    """Return how long something takes at a level, to the end of what it left to a device."""
    with reproducible(deterministic=level):
        _wait_for_device()
        started = time.perf_counter()
        run()
        _wait_for_device()
        return time.perf_counter() - started


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
    operations = [found for found in profiler.key_averages() if found.device_type.name == "CPU"]
    for device, attribute in (("cuda", "self_device_time_total"), ("cpu", "self_cpu_time_total")):
        seconds = {found.key: getattr(found, attribute) / 1e6 for found in operations if getattr(found, attribute)}
        if seconds:
            return Profile(device, seconds)
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
