"""Orders of up to 10**12 samples: what one takes, in processor time and memory."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from deterministic import make_loader

from .loaders import PLAIN
from .timing import in_turn

BATCH_SIZE = 64
SAMPLES = 200_000
"""How many samples are asked for, or as many as there are, to say what one costs."""
ORDERS: dict[str, Callable[[Any], DataLoader[Any]]] = {
    "shuffle=True": lambda dataset: make_loader(dataset, BATCH_SIZE, True, seed=0, randomness="batch"),
    'shuffle="blocks", block_size=1000': lambda dataset: make_loader(
        dataset, BATCH_SIZE, "blocks", block_size=1000, seed=0, randomness="batch"
    ),
    PLAIN: lambda dataset: DataLoader(dataset, BATCH_SIZE, shuffle=True),
}
LENGTHS = (10**4, 65_536, 65_537, 10**6, 10**7, 10**9, 10**12)
LONGEST_PLAIN = 10**6
"""Beyond, the list of a plain DataLoader takes seconds, and soon gigabytes."""


class Numbers:
    """As many samples as it says, each its index."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def measure(*, runs: int) -> dict[str, dict[int, dict[str, float]]]:
    """Return what each order takes at each length, the median of several rounds in turn, by name and length."""
    kinds = {(name, length): make for name, make in ORDERS.items() for length in LENGTHS}
    kinds = {kind: make for kind, make in kinds.items() if kind[0] != PLAIN or kind[1] <= LONGEST_PLAIN}
    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in ORDERS}
    for (name, length), make in kinds.items():
        found[name][length] = {"MiB": _mebibytes(make(Numbers(length)))}
    for what in ("first ms", "resumed ms", "replay ms", "us a sample"):
        trials = {
            f"{name}|{length}": partial(_TRIALS[what], make(Numbers(length)))
            for (name, length), make in kinds.items()
            if name != PLAIN or what in ("first ms", "us a sample")
        }
        for key, taken in in_turn(trials, rounds=runs).items():
            name, _, number = key.partition("|")
            found[name][int(number)][what] = statistics.median(taken)
    return found


def show(figures: dict[str, dict[int, dict[str, float]]]) -> None:
    """Print the table."""
    heads = ("first ms", "resumed ms", "replay ms", "us a sample", "MiB")
    print(f"\nlong orders: {'':<32} {'length':>15} " + " ".join(f"{head:>11}" for head in heads))
    for name, lengths in figures.items():
        for length, row in lengths.items():
            print(f"  {name:<43} {length:>15,} " + " ".join(f"{row.get(head, float('nan')):11.2f}" for head in heads))


def _mebibytes(loader: Any) -> float:
    next(iter(loader))  # what the first of all imports, and keeps
    tracemalloc.start()
    try:
        next(iter(loader))
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def _milliseconds(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return (time.process_time() - started) * 1e3


def _first(loader: Any) -> float:
    return _milliseconds(lambda: next(iter(loader)))


def _resumed(loader: Any) -> float:
    """Go on with the last batch."""
    state = {**loader.state_dict(), "done": (len(loader.dataset) - 1) // BATCH_SIZE * BATCH_SIZE}
    return _milliseconds(lambda: (loader.load_state_dict(state), next(iter(loader))))


def _replay(loader: Any) -> float:
    return _milliseconds(lambda: loader.replay(5, len(loader.dataset) // 2))


def _a_sample(loader: Any) -> float:
    """Return microseconds; what comes before the first is told by `_first`."""
    asked = min(SAMPLES, len(loader.dataset))
    indices = iter(loader.sampler)
    next(indices)
    return _milliseconds(lambda: sum(1 for _ in islice(indices, asked - 1))) * 1e3 / (asked - 1)


_TRIALS: dict[str, Callable[[Any], float]] = {
    "first ms": _first,
    "resumed ms": _resumed,
    "replay ms": _replay,
    "us a sample": _a_sample,
}
