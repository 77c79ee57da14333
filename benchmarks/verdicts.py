"""What `deterministic verify` costs: processor time of all its processes, as a ratio to the script's own.

And how long three runs that are the same take with `--jobs 2`, as a ratio to `--jobs 1`, by the clock on the wall.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .timing import in_turn, median_ratio

_PLAIN = """
import sys, time
import torch
differs = sys.argv[1]
torch.set_num_threads(1)
weight = torch.nn.Parameter(torch.zeros(64, 64))
for step in range(5):
    x = torch.randn(64)
    if str(step) == differs:
        x = x + time.time_ns() % 1000003 * 1e-6
    (weight * x).sum().backward()
    with torch.no_grad():
        weight -= 1e-9 * weight.grad
    weight.grad = None
"""

_TRAINING = """
import sys, time
import torch
from benchmarks.traces import MIDDLE, MODELS
from torch.nn.functional import cross_entropy
differs, steps = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
model, x, y = MODELS[MIDDLE]()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(steps):
    logits = model(x)
    if str(step) == differs:
        logits = logits + time.time_ns() % 1000003 * 1e-6
    loss = cross_entropy(logits.reshape(-1, logits.shape[-1]), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

SCRIPTS = {
    "no optimizer, 5 steps": (_PLAIN, 5),
    "transformer, 3 steps": (_TRAINING, 3),
    "transformer, 60 steps": (_TRAINING, 60),
}
"""Each with how many steps it makes."""

VERIFY = (sys.executable, "-m", "deterministic", "verify", "--runs", "2")
BARS = {"at step 0": 2.4, "in the middle": 4.0, "nowhere": 2.2}
"""The aims, by where the runs differ."""


def processor_seconds(command: Sequence[str], status: int) -> float:
    """Return the processor time of a command, with all that it starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    there = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": there}, stdout=subprocess.PIPE, text=True)
    if done.returncode != status:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_waited(command: Sequence[str]) -> float:
    """Return how long a command takes that ends well."""
    began = time.perf_counter()
    processor_seconds(command, 0)
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Measure, print the table, and return the ratios, medians over the rounds."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (text, steps) in SCRIPTS.items():
            script = Path(folder) / "train.py"
            script.write_text(text, encoding="utf-8")
            places = {"at step 0": 0, "in the middle": steps // 2, "nowhere": -1}
            trials = {
                place: partial(processor_seconds, [*VERIFY, str(script), str(step), str(steps)], 0 if step < 0 else 1)
                for place, step in places.items()
            }
            alone = partial(processor_seconds, [sys.executable, str(script), "-1", str(steps)], 0)
            seconds = in_turn({"alone": alone, **trials}, rounds=rounds)
            found[name] = {place: median_ratio(seconds[place], seconds["alone"]) for place in places}
            print(f"{name}: {statistics.median(seconds['alone']):.1f} s alone")
            print("".join(f"  {place} {found[name][place]:.2f} (aim {bar})" for place, bar in BARS.items()), flush=True)
            three = [*VERIFY[:-2], "--jobs", "{}", str(script), "-1", str(steps)]
            jobs = {jobs: partial(seconds_waited, [part.format(jobs) for part in three]) for jobs in "12"}
            waited = in_turn(jobs, rounds=rounds)
            found[name]["two jobs"] = median_ratio(waited["2"], waited["1"])
            print(f"  three runs, waited with two jobs: {found[name]['two jobs']:.2f} of one job", flush=True)
    return found


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
