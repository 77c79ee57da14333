"""What `deterministic run` costs: the start of a script, and arithmetic that is the same on other CPUs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from .timing import in_turn, median_ratio

PYTHON, RUN = (sys.executable,), (sys.executable, "-m", "deterministic", "run", "--quiet")
STARTS: Mapping[str, Sequence[str]] = {
    "python": PYTHON,
    "deterministic run": RUN,
    "python -m coverage run": (sys.executable, "-m", "coverage", "run", "--data-file=/dev/null"),
}
BASELINE = "python"

_OPERATIONS = """
import json, sys, time
import torch
torch.manual_seed(0)
image, table, square = torch.randn(16, 3, 32, 32), torch.randn(128, 256), torch.randn(512, 512)
convolutions = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3))
linear = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256))
operations = {
    "matrix product, 512 x 512": lambda: square @ square,
    "two linear layers, forward and backward": lambda: linear(table).sum().backward(),
    "two convolutions, forward and backward": lambda: convolutions(image).sum().backward(),
    "softmax": lambda: square.softmax(1),
}
found = {}
for name, operation in operations.items():
    operation()
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        operation()
        taken.append(time.perf_counter() - started)
    found[name] = min(taken)
print(json.dumps(found))
"""


def starts(runs: int) -> dict[str, list[float]]:
    """Return how many seconds an empty script takes from its start to its end, by each launcher, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.touch()

        def start(command: Sequence[str]) -> float:
            started = time.perf_counter()
            subprocess.run([*command, str(script)], check=True)
            return time.perf_counter() - started

        return in_turn({name: partial(start, command) for name, command in STARTS.items()}, rounds=runs)


def portable(runs: int) -> dict[str, dict[str, float]]:
    """Return how long operations take with --portable, as the ratio to the same without it; medians over processes.

    Once with the threads as they are, and once beside a run that has one thread, too.
    """
    options = {
        "run": [],
        "run --num-threads 1": ["--num-threads", "1"],
        "run --portable": ["--portable"],
    }
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "operations.py"
        script.write_text(_OPERATIONS, encoding="utf-8")
        found: dict[str, list[dict[str, float]]] = {name: [] for name in options}
        for _ in range(runs):
            for name, option in options.items():
                command = [*RUN, *option, str(script)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found[name].append(json.loads(done.stdout))

    def ratio(operation: str, to: str) -> float:
        taken, reference = ([one[operation] for one in found[name]] for name in ("run --portable", to))
        return median_ratio(taken, reference)

    return {
        operation: {f"to `{to}`": ratio(operation, to) for to in ("run", "run --num-threads 1")}
        for operation in found["run"][0]
    }


def measure(runs: int) -> dict[str, object]:
    """Measure both, print the tables, and return the figures."""
    seconds = starts(runs)
    print("\nan empty script, from start to end (ms): best, median, ratio of medians")
    reference = statistics.median(seconds[BASELINE])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"  {name:<42} {min(taken) * 1e3:9.1f} {median * 1e3:9.1f} {median / reference:9.2f}")
    ratios = portable(runs)
    print("\n--portable, as a ratio to")
    for operation, row in ratios.items():
        print(f"  {operation:<42} " + "  ".join(f"{to} {ratio:.2f}" for to, ratio in row.items()))
    return {"seconds_of_an_empty_script": seconds, "portable": ratios}
