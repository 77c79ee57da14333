"""What `stress=True` varies from repetition to repetition, although it must not matter."""

from __future__ import annotations

import _thread
import functools
import gc
import inspect
import os
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ground.launch import HASH_SEED

_HASH_SEEDS = 2**32
_LONGEST_BURST, _LONGEST_PAUSE = 0.0005, 0.002


@dataclass(frozen=True)
class Conditions:
    """The conditions of one repetition: the same each time that it is run, and others than those of its neighbours.

    Repetition 0 is plain, but for its fixed hash seed. Repetition i has:

    ========== ======================================================== ======================================
    varied     how                                                      what it finds
    ========== ======================================================== ======================================
    hash seed  PYTHONHASHSEED is i more than that of repetition 0       the order of sets of strings, `hash()`
    threads    a busy thread beside it, in bursts of up to 0.5 ms;      races
               `sys.setswitchinterval` shorter or longer; `os.nice`
    memory     blocks of odd sizes, every other one freed again         treatment of unaligned ends, `id()`
    malloc     with glibc: MALLOC_PERTURB_ fills what is allocated,     uninitialised memory
               MALLOC_ARENA_MAX
    workers    of each DataLoader that has some one more or one less,   draws that depend on which worker
               no more than there are cores                             makes a sample
    collector  never for an odd i, else very often                      finalisers, weak references
    ========== ======================================================== ======================================

    Left as they are: a loader without workers, because what a dataset computes in this process is recorded and what it
    computes in a worker is not; and one over an IterableDataset, which shares itself out among its workers.
    """

    repetition: int
    hash_seed: int = 0  # of repetition 0

    def environment(self) -> Mapping[str, str]:
        """Return the variables that the interpreter starts with."""
        number = self.repetition
        variables = {HASH_SEED: str((self.hash_seed + number) % _HASH_SEEDS)}
        if number:
            # An odd factor reaches every value from 1 to 255 before one comes again.
            variables |= {"MALLOC_PERTURB_": str(1 + number * 83 % 255), "MALLOC_ARENA_MAX": str(1 + number % 4)}
        return variables

    def begin(self) -> None:
        """Vary what can be varied from within this process, for as long as it lives."""
        if not self.repetition:
            return
        sys.setswitchinterval(self._switch_interval)
        if hasattr(os, "nice"):
            os.nice(self._nice)
        # Not by `threading`: a script may join all threads that it lists.
        _thread.start_new_thread(_be_busy, (self.repetition, _odd_blocks(self.repetition)))
        _vary_workers(self.repetition)
        if self.repetition % 2:
            gc.disable()
        else:
            gc.set_threshold(50, 5, 5)

    def __str__(self) -> str:
        if not self.repetition:
            return ""
        return ", ".join(
            [
                *(f"{name}={value}" for name, value in self.environment().items()),
                f"a busy thread (switch interval {self._switch_interval:g} s, nice +{self._nice})",
                "memory in odd places",
                "other numbers of DataLoader workers",
                f"garbage collection {'off' if self.repetition % 2 else 'very often'}",
            ]
        )

    @property
    def _switch_interval(self) -> float:
        return 0.0001 if self.repetition % 2 else 0.02  # Python's own: 0.005

    @property
    def _nice(self) -> int:
        return 1 + self.repetition % 5


def other_number(workers: int, repetition: int, cores: int) -> int:
    """Return another number of workers than those asked for, 1 or more; the same where there is no other.

    Torch warns of more workers than cores, so that number is exceeded only where the user does.
    """
    candidates = (workers + 1, workers - 1) if repetition % 2 else (workers - 1, workers + 1)
    return next((number for number in candidates if 1 <= number <= max(cores, workers)), workers)


def _odd_blocks(key: int) -> list[bytearray]:
    sizes = random.Random(key)
    return [bytearray(sizes.randrange(1, 100_000, 2)) for _ in range(64)][::2]  # the others leave gaps


def _be_busy(key: int, held: object, clock: Any = time.perf_counter, pause: Any = time.sleep) -> None:
    """Compete for the interpreter lock, in bursts: without pauses each operation would wait for a switch.

    Memory that is to be held is held by this thread, which never ends.
    """
    lengths = random.Random(key)
    while True:
        end = clock() + lengths.uniform(0, _LONGEST_BURST)
        while clock() < end:
            pass
        if hasattr(os, "sched_yield"):
            os.sched_yield()
        pause(lengths.uniform(0, _LONGEST_PAUSE))


def _vary_workers(repetition: int) -> None:
    from torch.utils.data import DataLoader, IterableDataset

    make = DataLoader.__init__
    signature = inspect.signature(make)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @functools.wraps(make)
    def make_with_others(self: DataLoader[Any], *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            return make(self, *args, **kwargs)  # which says what is wrong
        workers = bound.arguments.get("num_workers", 0)
        if isinstance(workers, int) and workers > 0 and not isinstance(bound.arguments["dataset"], IterableDataset):
            bound.arguments["num_workers"] = other_number(workers, repetition, cores)
        return make(*bound.args, **bound.kwargs)

    DataLoader.__init__ = make_with_others  # type: ignore[method-assign]
