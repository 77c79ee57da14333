"""Whole epochs of the loaders, against a plain DataLoader over the same items."""

from __future__ import annotations

import random
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from deterministic import make_loader

from .timing import in_turn, median_ratio

PLAIN = "plain DataLoader"
SAMPLE, BATCH, WORKER = (f'make_loader(randomness="{name}")' for name in ("sample", "batch", "worker"))
STATEFUL = "torchdata StatefulDataLoader"

BATCH_SIZE = 64
WORKERS = (0, 2)
BATCHES = {10: (128, 128), 100: (32, 64), 300: (16, 32), 1000: (6, 12)}
"""Microseconds of work of an item, and batches of an epoch for each of WORKERS: it takes some tenths of a second."""
AIMS = {300: 1.05, 1000: 1.02}
"""What a loader with keys may take, as a ratio to the plain one, by microseconds of work."""


@dataclass(frozen=True)
class Epochs:
    """What the epochs of one loader took.

    Attributes:
        best: Milliseconds of the fastest.
        median: Milliseconds.
        ratio: To the plain loader in the same round, the median over the rounds.
        quarter: The first quartile of that ratio.
        three_quarters: The third.
        ratio_of_best: Of the fastest epochs of both.
        added_us: Microseconds of the clock a sample beyond the plain loader in the same round, the median.
    """

    best: float
    median: float
    ratio: float
    quarter: float
    three_quarters: float
    ratio_of_best: float
    added_us: float


class Items(Dataset[float]):
    """Items that draw a number from each generator, and then keep a core busy for so many microseconds."""

    def __init__(self, length: int, work: int) -> None:
        self.length = length
        self.seconds = work * 1e-6

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> float:
        # The draws come on top of the work: the first one after seeding is dear, and must not hide in it.
        drawn = random.random() + np.random.random() + torch.rand(()).item()
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            pass
        return drawn


def factories() -> dict[str, Callable[..., DataLoader[Any]]]:
    """Return what makes each loader, as far as it is installed; the arguments are those of a DataLoader."""
    found: dict[str, Callable[..., DataLoader[Any]]] = {
        PLAIN: DataLoader,
        SAMPLE: partial(make_loader, seed=0, randomness="sample"),
        BATCH: partial(make_loader, seed=0, randomness="batch"),
        WORKER: partial(make_loader, seed=0, randomness="worker"),
    }
    try:
        from torchdata.stateful_dataloader import StatefulDataLoader

        found[STATEFUL] = StatefulDataLoader
        # torchdata 0.11 calls torch.set_vital, which torch 2.13 deprecates.
        warnings.filterwarnings("ignore", message="'set_vital' is deprecated", category=UserWarning)
    except ImportError:
        pass
    return found


def version_of_torchdata() -> str | None:
    """Return the version that was measured; None: it is not installed."""
    return metadata.version("torchdata") if STATEFUL in factories() else None


def epochs(work: int, workers: int, *, rounds: int) -> dict[str, Epochs]:
    """Time the epochs of every loader over items of so many microseconds; by loader."""
    samples = BATCHES[work][WORKERS.index(workers)] * BATCH_SIZE
    items = Items(samples, work)
    trials: dict[str, Callable[[], float]] = {}
    for name, make in factories().items():
        loader = make(items, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=bool(workers))
        trials[name] = partial(_seconds, loader)
        trials[name]()  # starts the workers
    seconds = in_turn(trials, rounds=rounds)
    plain = seconds[PLAIN]
    return {name: _summary(taken, plain, samples) for name, taken in seconds.items()}


def show(work: int, workers: int, rows: dict[str, Epochs]) -> None:
    """Print one table."""
    print(f"\n{title(work, workers)}")
    print(f"  {'':<34} {'best ms':>9} {'median ms':>9} {'x plain':>8} {'quartiles':>15} {'x best':>8} {'+us':>7}")
    for name, row in rows.items():
        quartiles = f"{row.quarter:.3f} to {row.three_quarters:.3f}"
        print(
            f"  {name:<34} {row.best:9.2f} {row.median:9.2f} {row.ratio:8.3f} {quartiles:>15}"
            f" {row.ratio_of_best:8.3f} {row.added_us:7.2f}{_verdict(name, work, row.ratio)}"
        )


def title(work: int, workers: int) -> str:
    """Return the title of a table."""
    return f"an epoch: items of {work} us, {workers} workers"


def _verdict(name: str, work: int, ratio: float) -> str:
    if work not in AIMS or name not in (SAMPLE, BATCH):
        return ""
    return f"  aim {AIMS[work]}: {'met' if ratio <= AIMS[work] else 'missed'}"


def _seconds(loader: DataLoader[Any]) -> float:
    started = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - started


def _summary(own: list[float], plain: list[float], samples: int) -> Epochs:
    ratios = [one / other for one, other in zip(own, plain, strict=True)]
    quarter, _, three_quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Epochs(
        best=min(own) * 1e3,
        median=statistics.median(own) * 1e3,
        ratio=median_ratio(own, plain),
        quarter=quarter,
        three_quarters=three_quarters,
        ratio_of_best=min(own) / min(plain),
        added_us=statistics.median(one - other for one, other in zip(own, plain, strict=True)) / samples * 1e6,
    )
