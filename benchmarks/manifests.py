"""What a manifest costs, the first of a process and another one, beside `python -m torch.utils.collect_env`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from .timing import fresh_processes, in_turn

_FIRST = """
import time
import numpy, torch
from deterministic import manifest
import gc
gc.collect()  # else what the imports have left may be collected in the midst of it, in 90 ms
gc.freeze()
t = time.perf_counter()
{call}
print(time.perf_counter() - t)
"""

CALLS = {
    "manifest(packages=False, code=False)": "manifest(packages=False, code=False)",
    "manifest(packages=False)": "manifest(packages=False)",
    "manifest()": "manifest()",
    "get_env_info() of collect_env": "from torch.utils.collect_env import get_env_info; get_env_info()",
}
"""The first call in a process that has imported torch and numpy."""


def measure(runs: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each call in fresh processes, and of `collect_env` as a command, in the same rounds."""
    first = fresh_processes({name: _FIRST.format(call=call) for name, call in CALLS.items()}, runs=runs)
    command = {"python -m torch.utils.collect_env": partial(_seconds_of, ["-m", "torch.utils.collect_env"])}
    command["deterministic info --manifest"] = partial(
        _seconds_of, ["-m", "deterministic", "info", "--manifest", "/dev/null"]
    )
    return {"calls": first, "commands": in_turn(command, rounds=runs)}


def show(figures: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Print the table."""
    print("\nmanifests (ms): best, median")
    for table in figures.values():
        for name, seconds in table.items():
            print(f"  {name:<42} {min(seconds) * 1e3:9.1f} {statistics.median(seconds) * 1e3:9.1f}")


def _seconds_of(arguments: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - began
