"""The memory of the main process over epochs of a million items: `python -m benchmarks.memory LOADER` prints it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .loaders import factories

LENGTH = 1_000_000
BATCH_SIZE = 1000
WORKERS = 2
EPOCHS = 3
STATUS = Path("/proc/self/status")


def memory() -> dict[str, Any]:
    """Return the memory of each loader's main process, in KiB, each in a process of its own; nothing without /proc.

    Of each epoch it is the resident set at its first batch, in its middle, at its last batch and after it.
    """
    if not STATUS.exists():
        return {}
    found = {}
    for name in factories():
        program = [sys.executable, "-m", "benchmarks.memory", name]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
    return found


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\nresident set of the main process (MiB), {LENGTH} items in batches of {BATCH_SIZE}, {WORKERS} workers")
    if not figures:
        print(f"  not measured: there is no {STATUS} here")
        return
    print(f"  {'':<34} {'before':>8} {'epoch':>6} {'first':>8} {'middle':>8} {'last':>8} {'after':>8} {'peak':>8}")
    for name, figure in figures.items():
        for number, epoch in enumerate(figure["epochs"]):
            row = [epoch["first"], epoch["middle"], epoch["last"], epoch["after"]]
            kept = f"{'':<34} {'':>8}" if number else f"{name:<34} {figure['before'] / 1024:8.1f}"
            peak = f" {figure['peak'] / 1024:8.1f}" if number == EPOCHS - 1 else ""
            print(f"  {kept} {number:>6} " + " ".join(f"{size / 1024:8.1f}" for size in row) + peak)


def _measure(name: str) -> dict[str, Any]:
    loader = factories()[name](range(LENGTH), batch_size=BATCH_SIZE, shuffle=True, num_workers=WORKERS)
    found: dict[str, Any] = {"before": _status("VmRSS"), "epochs": []}
    places = {0: "first", LENGTH // BATCH_SIZE // 2: "middle", LENGTH // BATCH_SIZE - 1: "last"}
    for _ in range(EPOCHS):
        epoch = {}
        for number, _batch in enumerate(loader):
            if number in places:
                epoch[places[number]] = _status("VmRSS")
        found["epochs"].append(epoch | {"after": _status("VmRSS")})
    # The kernel's peak can lag a little behind.
    return found | {"peak": max(_status("VmHWM"), *(size for epoch in found["epochs"] for size in epoch.values()))}


def _status(field: str) -> int:
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
