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
from deterministic.data.samples.held import Held
from deterministic.data.samples.keys import Keying

from .timing import Timing, in_turn, interleaved, median_ratio

PLAIN = "plain DataLoader"
SAMPLE, BATCH, WORKER = (f'make_loader(randomness="{name}")' for name in ("sample", "batch", "worker"))
STATEFUL = "torchdata StatefulDataLoader"

BATCH_SIZE = 64
WORKERS = (0, 2)
BATCHES = {10: (128, 128), 100: (32, 64), 300: (16, 32), 1000: (6, 12)}
"""Microseconds of work of an item, and batches of an epoch for each of WORKERS: it takes some tenths of a second."""
AIMS = {300: 1.05, 1000: 1.02}
"""What a loader with keys may take, as a ratio to the plain one, by microseconds of work."""


HELD: dict[str, Callable[[], Any]] = {
    "Generator (PCG64)": np.random.default_rng,
    "Generator (SFC64)": lambda: np.random.Generator(np.random.SFC64(0)),
    "Generator (Philox)": lambda: np.random.Generator(np.random.Philox(0)),
    "Generator (MT19937)": lambda: np.random.Generator(np.random.MT19937(0)),
    "RandomState": np.random.RandomState,
    "torch.Generator": torch.Generator,
    "random.Random": random.Random,
}
"""Generators that a dataset may hold, by kind."""
_HELD_BY_ONE = 4
SEEDING = "RandomState.seed"


_busy = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter
"""An item's clock: it stands still while other programs have the core, so that load does not shorten the work."""


@dataclass(frozen=True)
class Epochs:
    """What the epochs of one loader took, by the clock and, without workers, in processor time of this process.

    Attributes:
        best: Milliseconds of the fastest.
        median: Milliseconds.
        ratio: To the plain loader in the same round, the median over the rounds.
        quarter: The first quartile of that ratio.
        three_quarters: The third.
        ratio_of_best: Of the fastest epochs of both.
        added_us: Microseconds a sample beyond the plain loader in the same round, the median.
        cpu_ratio: As `ratio`, of processor time; None with workers.
        cpu_added_us: As `added_us`, of processor time; None with workers.
    """

    best: float
    median: float
    ratio: float
    quarter: float
    three_quarters: float
    ratio_of_best: float
    added_us: float
    cpu_ratio: float | None
    cpu_added_us: float | None


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
        until = _busy() + self.seconds
        while _busy() < until:
            pass
        return drawn


class Epoch:
    """A trial: one epoch of a loader. It says the seconds of the clock, and keeps those of the processor."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self.cpu: list[float] = []

    def __call__(self) -> float:
        started, cpu = time.perf_counter(), time.process_time()
        for _ in self.loader:
            pass
        self.cpu.append(time.process_time() - cpu)
        return time.perf_counter() - started


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
    trials: dict[str, Epoch] = {}
    for name, make in factories().items():
        loader = make(items, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=bool(workers))
        trials[name] = Epoch(loader)
        trials[name]()  # starts the workers
        trials[name].cpu.clear()
    seconds = in_turn(trials, rounds=rounds)
    cpu = None if workers else {name: trial.cpu for name, trial in trials.items()}
    return {name: _summary(name, seconds, cpu, samples) for name in trials}


def show(work: int, workers: int, rows: dict[str, Epochs]) -> None:
    """Print one table."""
    print(f"\n{title(work, workers)}")
    heads = f"{'best ms':>9} {'median ms':>9} {'x plain':>8} {'quartiles':>15} {'x best':>8} {'+us':>7}"
    print(f"  {'':<34} {heads}" + ("" if workers else f" {'cpu x':>8} {'cpu +us':>8}"))
    for name, row in rows.items():
        quartiles = f"{row.quarter:.3f} to {row.three_quarters:.3f}"
        print(
            f"  {name:<34} {row.best:9.2f} {row.median:9.2f} {row.ratio:8.3f} {quartiles:>15}"
            f" {row.ratio_of_best:8.3f} {row.added_us:7.2f}"
            + ("" if row.cpu_ratio is None else f" {row.cpu_ratio:8.3f} {row.cpu_added_us:8.2f}")
            + _verdict(name, work, row)
        )


def title(work: int, workers: int) -> str:
    """Return the title of a table."""
    return f"an epoch: items of {work} us, {workers} workers"


def _verdict(name: str, work: int, row: Epochs) -> str:
    """Say whether a loader with keys is where it should be, by the clock and by the processor's time."""
    if work not in AIMS or name not in (SAMPLE, BATCH):
        return ""
    found = {"clock": row.ratio, "cpu": row.cpu_ratio}
    return f"  aim {AIMS[work]}: " + ", ".join(
        f"{by} {'met' if ratio <= AIMS[work] else 'missed'}" for by, ratio in found.items() if ratio is not None
    )


def _summary(name: str, seconds: dict[str, list[float]], cpu: dict[str, list[float]] | None, samples: int) -> Epochs:
    own, plain = seconds[name], seconds[PLAIN]
    ratios = [one / other for one, other in zip(own, plain, strict=True)]
    quarter, _, three_quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Epochs(
        best=min(own) * 1e3,
        median=statistics.median(own) * 1e3,
        ratio=median_ratio(own, plain),
        quarter=quarter,
        three_quarters=three_quarters,
        ratio_of_best=min(own) / min(plain),
        added_us=_added_us(own, plain, samples),
        cpu_ratio=median_ratio(cpu[name], cpu[PLAIN]) if cpu else None,
        cpu_added_us=_added_us(cpu[name], cpu[PLAIN], samples) if cpu else None,
    )


def _added_us(own: list[float], plain: list[float], samples: int) -> float:
    return statistics.median(one - other for one, other in zip(own, plain, strict=True)) / samples * 1e6


def held(*, rounds: int) -> dict[str, Timing]:
    """Return what keying a generator that the dataset holds takes a sample, by kind, beside seeding a `RandomState`."""
    functions: dict[str, Callable[[], object]] = {SEEDING: partial(np.random.RandomState().seed, 7)}
    keying = Keying(0, randomness="sample", shard=True, is_global=False, worker_threads=1)
    for kind, make in HELD.items():
        dataset: Any = Items(1, 0)
        dataset.generators = [make() for _ in range(_HELD_BY_ONE)]
        found = Held(dataset, "dataset", keying)
        found.settle()
        functions[kind] = partial(found.key, 7)
    timed = interleaved(functions, SEEDING, rounds=rounds, calls=5)
    each = {name: 1 if name == SEEDING else _HELD_BY_ONE for name in timed}
    return {
        name: Timing(best=row.best / each[name], median=row.median / each[name], ratio=row.ratio / each[name])
        for name, row in timed.items()
    }


def show_held(rows: dict[str, Timing]) -> None:
    """Print one table."""
    print("\na generator that the dataset holds, a sample")
    print(f"  {'':<34} {'best us':>9} {'median us':>9} {'x seeding':>9}")
    for name, row in rows.items():
        print(f"  {name:<34} {row.best:9.2f} {row.median:9.2f} {row.ratio:9.2f}")
