"""Measure everything, print the tables, and save the figures with the versions and the machine kind."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deterministic._report import versions

from . import scopes, startup
from .timing import Timing, fresh_processes, interleaved


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="how often each function is timed (default: 300)")
    parser.add_argument("--runs", type=int, default=15, help="fresh processes per program (default: 15)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()

    def measured(functions: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        return interleaved({scopes.BASELINE: scopes.naive, **functions}, scopes.BASELINE, rounds=arguments.rounds)

    entering = measured({"with reproducible(0): pass": scopes.scope})
    sources = measured(scopes.by_source())
    beside = measured({**scopes.peers(), "with reproducible(0): pass, inductor imported": scopes.scope})
    first = fresh_processes({**startup.IMPORT, **startup.FIRST_ENTRY}, runs=arguments.runs)

    show("entering and leaving once, warm", entering)
    show("one source: capture, apply, restore", sources)
    show("beside other libraries, with inductor imported", beside)
    print("\nonce per process (ms): best, median")
    for name, seconds in first.items():
        print(f"  {name:<42} {min(seconds) * 1e3:9.2f} {statistics.median(seconds) * 1e3:9.2f}")
    if arguments.save:
        everything = figures({"entering": entering, "sources": sources, "beside": beside}, first)
        arguments.save.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def show(title: str, timings: Mapping[str, Timing]) -> None:
    """Print one table."""
    print(f"\n{title}\n  {'':<42} {'best us':>9} {'median us':>9} {'x naive':>9}")
    for name, timing in timings.items():
        print(f"  {name:<42} {timing.best:9.2f} {timing.median:9.2f} {timing.ratio:9.3f}")


def figures(tables: Mapping[str, Mapping[str, Timing]], first: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return everything that was measured, with what it was measured on."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "versions": versions(),
        "machine": f"{platform.machine()}, {cpu_model()}",
        "microseconds": {
            title: {name: vars(timing) for name, timing in timings.items()} for title, timings in tables.items()
        },
        "seconds_once": first,
    }


def cpu_model() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
