"""Timing functions against each other on a machine that does other things too."""

from __future__ import annotations

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Timing:
    """What one function took, in microseconds a call, and as a ratio to the baseline of the same round."""

    best: float
    median: float
    ratio: float


def interleaved(
    functions: Mapping[str, Callable[[], object]], baseline: str, *, rounds: int = 300, calls: int = 20
) -> dict[str, Timing]:
    """Time the functions in turn, in another order every round, so that load and caches hit all of them alike.

    Args:
        functions: What to time, by name.
        baseline: The name that ratios refer to; the ratio is the median over the rounds.
        rounds: How often each is timed.
        calls: Calls per timing.
    """
    seconds = in_turn({name: partial(_warm, function, calls) for name, function in functions.items()}, rounds=rounds)
    reference = seconds[baseline]
    return {
        name: Timing(best=min(taken) * 1e6, median=statistics.median(taken) * 1e6, ratio=median_ratio(taken, reference))
        for name, taken in seconds.items()
    }


def in_turn(trials: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Make each trial once a round, in another order every round, and return the seconds that they say, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    order = list(trials)
    shuffler = random.Random(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffler.shuffle(order)
            for name in order:
                seconds[name].append(trials[name]())
    finally:
        gc.enable()
    return seconds


def median_ratio(own: list[float], other: list[float]) -> float:
    """Return the median over the rounds of the ratio within a round."""
    return statistics.median(one / reference for one, reference in zip(own, other, strict=True))


def fresh_processes(programs: Mapping[str, str], *, runs: int = 15) -> dict[str, list[float]]:
    """Run each program in fresh interpreters, in turn, and return the seconds that it printed, by name."""
    printed: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, program in programs.items():
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            printed[name].append(float(done.stdout))
    return printed


def _warm(function: Callable[[], object], calls: int) -> float:
    """Return the seconds that one of several calls takes."""
    function()  # the one before left its own lines in the caches
    started = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - started) / calls
