"""How much more memory a process holds at the peak of a run than when it began."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

try:
    from resource import RUSAGE_SELF, getrusage
except ImportError:  # Windows does not tell
    getrusage = None  # type: ignore[assignment]

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"

RESIDENT = "the peak of the process's resident set, above where it stood as the run began"
HIGHEST = "how far the run raised the highest resident set that the process ever had: nothing if an earlier one did"
ALLOCATED = "the peak of what torch allocated on CUDA devices, above what it held as the run began"


class Peak(NamedTuple):
    """How much was held at the peak, above where it began.

    Attributes:
        host: Bytes; None if the system does not tell.
        cuda: Bytes of all devices together; None if CUDA was not used.
        how: What `host` is.
    """

    host: int | None
    cuda: int | None
    how: str


def peak_of(run: Callable[[], Any]) -> Peak:
    """Run something, and return how much memory it took at its peak.

    The peak statistics of CUDA devices, and of this process on Linux, begin anew.

    Args:
        run: What to run.
    """
    gc.collect()
    _give_back_freed()
    finish_cuda = _cuda_peak()
    finish, how = _host_peak()
    run()
    return Peak(finish(), finish_cuda(), how)


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


def _status(field: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _highest() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _give_back_freed() -> None:
    """Let the C library give freed memory back, or a run would find there what the one before it took."""
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _cuda_peak() -> Callable[[], int | None]:
    """As `_host_peak`; also where it is the run that uses CUDA first."""
    before = 0
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
        before = sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))

    def finish() -> int | None:
        if not torch.cuda.is_initialized():
            return None
        peak = sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
        return peak - before or None

    return finish
