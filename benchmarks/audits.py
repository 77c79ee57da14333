"""How fast `deterministic audit` is beside `ruff check`, on the source of packages that are installed."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .timing import in_turn, median_ratio

AUDIT, RUFF = "deterministic audit", "ruff check"
COMMANDS = {
    AUDIT: (sys.executable, "-m", "deterministic", "audit", "--json"),
    RUFF: (sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--quiet", "--exit-zero"),
}
PACKAGES = ("sklearn",)


def measure(*, rounds: int) -> dict[str, Any]:
    """Time both commands in turn, each in a process of its own, and count the lines."""
    folders = [str(Path(str(find_spec(package).origin)).parent) for package in PACKAGES]  # type: ignore[union-attr]
    lines = sum(path.read_bytes().count(b"\n") for folder in folders for path in Path(folder).rglob("*.py"))

    def run(command: Sequence[str]) -> float:
        started = time.perf_counter()
        done = subprocess.run([*command, *folders], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{command}: {done.returncode}")
        return time.perf_counter() - started

    seconds = in_turn({name: partial(run, command) for name, command in COMMANDS.items()}, rounds=rounds)
    return {
        "packages": PACKAGES,
        "lines": lines,
        "cores": os.cpu_count(),
        "seconds": seconds,
        "seconds_for_100000_lines": {n: statistics.median(taken) / lines * 1e5 for n, taken in seconds.items()},
        "ratio": median_ratio(seconds[AUDIT], seconds[RUFF]),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\naudit: {figures['lines']:,} lines of {', '.join(figures['packages'])}")
    for name, taken in figures["seconds_for_100000_lines"].items():
        print(f"  {name:<24} {taken:9.2f} s for 100,000 lines")
    print(f"  {AUDIT} / {RUFF}: {figures['ratio']:.1f}")
