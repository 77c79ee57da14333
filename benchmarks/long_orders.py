"""Orders of up to 10**12 samples: what one takes, in processor time.

`python -m benchmarks.long_orders ORDER LENGTH` prints it, in a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from deterministic import make_loader

from .loaders import PLAIN
from .memory import STATUS, _status

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
LONGEST_PLAIN = 10**7
"""From there on a plain DataLoader's list takes gigabytes."""


class Numbers:
    """As many samples as it says, each its index."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def measure(*, runs: int) -> dict[str, dict[int, dict[str, float]]]:
    """Return what each order takes at each length, the median of several processes, by name and length."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {name: {} for name in ORDERS}
    for _ in range(runs):
        for length in LENGTHS:
            for name in ORDERS:
                if name != PLAIN or length <= LONGEST_PLAIN:
                    program = [sys.executable, "-m", "benchmarks.long_orders", name, str(length)]
                    done = subprocess.run(program, capture_output=True, text=True, check=True)
                    found[name].setdefault(length, []).append(json.loads(done.stdout))
    return {
        name: {
            length: {what: statistics.median(one[what] for one in ones) for what in ones[0]}
            for length, ones in lengths.items()
        }
        for name, lengths in found.items()
    }


def show(figures: dict[str, dict[int, dict[str, float]]]) -> None:
    """Print the table."""
    heads = ("first ms", "resumed ms", "replay ms", "us a sample", "MiB")
    print(f"\nlong orders: {'':<32} {'length':>15} " + " ".join(f"{head:>11}" for head in heads))
    for name, lengths in figures.items():
        for length, row in lengths.items():
            print(f"  {name:<43} {length:>15,} " + " ".join(f"{row.get(head, float('nan')):11.2f}" for head in heads))


def _measure(name: str, length: int) -> dict[str, float]:
    make = ORDERS[name]
    next(iter(make(Numbers(100))))  # imports what is imported at the first batch
    loader: Any = make(Numbers(length))
    before = _status("VmRSS") if STATUS.exists() else 0
    row = {"first ms": _milliseconds(lambda: next(iter(loader)))}
    if STATUS.exists():
        row["MiB"] = max(0, _status("VmHWM") - before) / 1024
    if name != PLAIN:
        state = {**loader.state_dict(), "done": (length - 1) // BATCH_SIZE * BATCH_SIZE}
        row["resumed ms"] = _milliseconds(lambda: (loader.load_state_dict(state), next(iter(loader))))
        row["replay ms"] = _milliseconds(lambda: loader.replay(5, length // 2))
    asked = min(SAMPLES, length)
    indices = iter(loader.sampler)
    next(indices)  # what comes before the first is told above
    started = time.process_time()
    for _ in islice(indices, asked - 1):
        pass
    row["us a sample"] = (time.process_time() - started) / (asked - 1) * 1e6
    return row


def _milliseconds(act: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        started = time.process_time()
        act()
        taken.append(time.process_time() - started)
    return statistics.median(taken) * 1e3


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
