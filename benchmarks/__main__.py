"""Measure, print the tables, and save the figures with the versions and the machine kind."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deterministic.sources.registry import versions

from . import (
    audits,
    checkpoints,
    command_line,
    fingerprints,
    loaders,
    long_orders,
    manifests,
    memory,
    reach,
    resume,
    scopes,
    sharded,
    startup,
    traces,
    world_sizes,
)
from .timing import Timing, fresh_processes, interleaved


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    what = (
        "scopes",
        "loaders",
        "held",
        "orders",
        "traces",
        "checkpoints",
        "sharded",
        "command-line",
        "world-sizes",
        "audits",
        "manifests",
        "all",
        "reach",
    )
    parser.add_argument("what", nargs="?", choices=what, default="scopes", help="what to run")
    parser.add_argument("--rounds", type=int, default=300, help="how often each function is timed (default: 300)")
    parser.add_argument("--epochs", type=int, default=20, help="how often each epoch is timed (default: 20)")
    parser.add_argument("--runs", type=int, default=15, help="fresh processes and resumes of each (default: 15)")
    parser.add_argument("--device", default="cpu", help="where the traced steps run (default: cpu)")
    parser.add_argument("--only", nargs="+", default=(), metavar="ROW", help="reach: the rows to ask again")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()

    figures: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "versions": versions(),
        "machine": f"{platform.machine()}, {cpu_model()}",
    }
    if arguments.what in ("scopes", "all"):
        figures |= measure_scopes(arguments.rounds, arguments.runs)
    if arguments.what in ("loaders", "all"):
        figures["loaders"] = measure_loaders(arguments.epochs, arguments.runs)
    if arguments.what in ("held", "all"):
        held = loaders.held(rounds=arguments.rounds)
        loaders.show_held(held)
        figures["microseconds_a_held_generator"] = {kind: vars(row) for kind, row in held.items()}
    if arguments.what in ("orders", "all"):
        figures["orders"] = long_orders.measure(runs=arguments.runs)
        long_orders.show(figures["orders"])
    if arguments.what in ("traces", "all"):
        figures["traces"] = measure_traces(arguments.runs, arguments.device)
    if arguments.what in ("checkpoints", "all"):
        figures["checkpoints"] = checkpoints.measure(rounds=arguments.runs)
        checkpoints.show(figures["checkpoints"])
    if arguments.what in ("sharded", "all"):
        figures["sharded"] = sharded.measure(rounds=arguments.runs)
        sharded.show(figures["sharded"])
    if arguments.what in ("command-line", "all"):
        figures["command_line"] = command_line.measure(arguments.runs)
    if arguments.what in ("world-sizes", "all"):
        figures["world_sizes"] = world_sizes.measure(rounds=arguments.runs)
        world_sizes.show(figures["world_sizes"])
    if arguments.what == "reach":
        figures["reach"] = reach.asked_again(arguments.only)
    if arguments.what in ("audits", "all"):
        figures["audits"] = audits.measure(rounds=arguments.runs)
        audits.show(figures["audits"])
    if arguments.what in ("manifests", "all"):
        figures["manifests"] = manifests.measure(runs=arguments.runs)
        manifests.show(figures["manifests"])
    if arguments.save:
        arguments.save.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure_scopes(rounds: int, runs: int) -> dict[str, Any]:
    """Measure entering and leaving, print the tables, and return the figures."""

    def measured(functions: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        return interleaved({scopes.BASELINE: scopes.naive, **functions}, scopes.BASELINE, rounds=rounds)

    entering = measured({"with reproducible(0): pass": scopes.scope, "the same, entropy='warn'": scopes.watching})
    sources = measured(scopes.by_source())
    beside = measured({**scopes.peers(), "with reproducible(0): pass, inductor imported": scopes.scope})
    first = fresh_processes({**startup.IMPORT, **startup.FIRST_ENTRY}, runs=runs)

    show("entering and leaving once, warm", entering)
    show("one source: capture, apply, restore", sources)
    show("beside other libraries, with inductor imported", beside)
    print("\nonce per process (ms): best, median")
    for name, seconds in first.items():
        print(f"  {name:<42} {min(seconds) * 1e3:9.2f} {statistics.median(seconds) * 1e3:9.2f}")
    tables = {"entering": entering, "sources": sources, "beside": beside}
    return {
        "microseconds": {
            title: {name: vars(timing) for name, timing in timings.items()} for title, timings in tables.items()
        },
        "seconds_once": first,
    }


def measure_loaders(rounds: int, runs: int) -> dict[str, Any]:
    """Measure the loaders, print the tables, and return the figures."""
    load = [load_average()]
    epochs: dict[str, Any] = {}
    for workers in loaders.WORKERS:
        for work in loaders.BATCHES:
            rows = loaders.epochs(work, workers, rounds=rounds)
            loaders.show(work, workers, rows)
            load.append(load_average())
            epochs[loaders.title(work, workers)] = {name: vars(row) for name, row in rows.items()}
    resumed = resume.resumes(rounds=runs)
    resume.show(resumed)
    resident = memory.memory()
    memory.show(resident)
    return {
        "batch_size": loaders.BATCH_SIZE,
        "load_average_before_and_after_each_table": load,
        "torchdata": loaders.version_of_torchdata(),
        "milliseconds_an_epoch": epochs,
        "milliseconds_to_the_first_batch": {name: vars(row) for name, row in resumed.loaders.items()},
        "milliseconds_to_draw_an_order": resumed.orders,
        "bytes_of_the_state": resumed.sizes,
        "kib_of_the_main_process": resident,
    }


def measure_traces(rounds: int, device: str) -> dict[str, Any]:
    """Measure recorded training steps and fingerprints, print the tables, and return the figures."""
    load = [load_average()]
    steps: dict[str, Any] = {}
    for model, optimizer in traces.MEASURED:
        title = f"{model}, {optimizer}, {device}"
        rows = traces.measure(model, optimizer, rounds=rounds, device=device)
        traces.show(title, rows)
        load.append(load_average())
        steps[title] = {name: vars(row) for name, row in rows.items()}
    rates = {size: fingerprints.rates(size, device) for size in fingerprints.SIZES}
    for size, found in rates.items():
        fingerprints.show(size, found)
    return {
        "load_average_before_and_after_each_table": load,
        "steps": steps,
        "fingerprints": {size: {name: vars(rate) for name, rate in found.items()} for size, found in rates.items()},
    }


def show(title: str, timings: Mapping[str, Timing]) -> None:
    """Print one table."""
    print(f"\n{title}\n  {'':<42} {'best us':>9} {'median us':>9} {'x naive':>9}")
    for name, timing in timings.items():
        print(f"  {name:<42} {timing.best:9.2f} {timing.median:9.2f} {timing.ratio:9.3f}")


def cpu_model() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def load_average() -> float | None:
    """Return how many programs wanted a core over the last minute, this one among them, where the system tells it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


if __name__ == "__main__":
    main()
