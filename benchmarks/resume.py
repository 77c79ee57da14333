"""Going on within an epoch of a million items: how long until the first batch, and how large the state is."""

from __future__ import annotations

import gc
import json
import pickle
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from .loaders import BATCH_SIZE, PLAIN, SAMPLE, STATEFUL, WORKERS, factories
from .timing import in_turn, median_ratio

LENGTH = 1_000_000
PLACES = (0.0, 0.1, 0.9)
"""How much of the epoch is behind; 0.0 is a fresh epoch."""
REPLAYS = 3
"""How often a DataLoader is replayed at most: each time takes seconds."""
AIM_RATIO, AIM_MS = 1.2, 200.0


@dataclass(frozen=True)
class Resume:
    """How long one loader takes from `load_state_dict` to the first batch.

    Attributes:
        best: Milliseconds, by how much of the epoch is behind.
        median: The same.
        ratio: Of 90 % to 10 %, the median over the rounds.
    """

    best: dict[str, float]
    median: dict[str, float]
    ratio: float


@dataclass(frozen=True)
class Resumes:
    """What was measured.

    Attributes:
        loaders: What each takes to resume, by loader and workers.
        orders: Milliseconds that drawing the order of an epoch takes alone: the loader's own, and a plain one's.
        sizes: Bytes of the states, by what saved them; None where a state is no JSON.
    """

    loaders: dict[str, Resume]
    orders: dict[str, dict[str, float]]
    sizes: dict[str, dict[str, int | None]]


def resumes(*, rounds: int) -> Resumes:
    """Resume each loader at each place, in turn; items are integers that cost nothing.

    Replaying is a plain DataLoader whose first batches are left out. What items cost is lost on top of it.
    """
    trials: dict[str, Callable[[], float]] = dict(ORDERS)
    replays: dict[str, Callable[[], float]] = {}
    sizes: dict[str, dict[str, int | None]] = {}
    made = factories()
    for workers in WORKERS:
        for name in (SAMPLE, STATEFUL):
            if name in made:
                make = partial(_make, made[name], workers)
                saved = _states(make)
                for place, (state, expected) in saved.items():
                    trials[_key(name, workers, place)] = partial(_resume, make, state, expected)
                sizes[f"{name}, {workers} workers"] = _bytes(saved[PLACES[-1]][0])
        for place in PLACES:
            replays[_key(PLAIN, workers, place)] = partial(_replay, partial(_make, made[PLAIN], workers), place)
    seconds = in_turn(trials, rounds=rounds) | in_turn(replays, rounds=min(rounds, REPLAYS))
    alone = {
        name: {"best": min(taken) * 1e3, "median": statistics.median(taken) * 1e3}
        for name in ORDERS
        for taken in (seconds.pop(name),)
    }
    names = dict.fromkeys(key.rpartition(" at ")[0] for key in seconds)
    rows = {name: _summary({place: seconds[f"{name} at {place}"] for place in PLACES}) for name in names}
    return Resumes(rows, alone, sizes)


def show(measured: Resumes) -> None:
    """Print the tables."""
    print(f"\nto the first batch of {LENGTH} items, by how much of the epoch is behind: median ms")
    print(f"  {'':<46} " + " ".join(f"{place:>9.0%}" for place in PLACES) + f" {'90 % / 10 %':>12}")
    for name, row in measured.loaders.items():
        figures = " ".join(f"{row.median[str(place)]:9.1f}" for place in PLACES)
        print(f"  {name:<46} {figures} {row.ratio:12.3f}{_verdict(name, row)}")
    print(f"\ndrawing an order of {LENGTH} alone (ms): best, median")
    for name, figure in measured.orders.items():
        print(f"  {name:<46} {figure['best']:9.1f} {figure['median']:9.1f}")
    print("\nbytes of the state, 90 % behind: pickle, compact JSON")
    for name, figure_of in measured.sizes.items():
        print(f"  {name:<46} {figure_of['pickle']:>9} {figure_of['json'] or 'none':>9}")


def _verdict(name: str, row: Resume) -> str:
    if name != f"{SAMPLE}, 0 workers":
        return ""
    is_met = row.ratio <= AIM_RATIO and max(row.median.values()) < AIM_MS
    return f"  aim {AIM_RATIO} and {AIM_MS:.0f} ms: {'met' if is_met else 'missed'}"


def _key(name: str, workers: int, place: float) -> str:
    return f"{name}, {workers} workers at {place}"


def _make(factory: Callable[..., DataLoader[Any]], workers: int) -> DataLoader[Any]:
    return factory(range(LENGTH), batch_size=BATCH_SIZE, shuffle=True, num_workers=workers)


def _batches(place: float) -> int:
    return int(LENGTH * place) // BATCH_SIZE


def _states(make: Callable[[], Any]) -> dict[float, tuple[Any, Any]]:
    """Return, from one epoch, the state at each place and the batch that comes next; at the beginning there is none."""
    loader = make()
    found: dict[float, tuple[Any, Any]] = {}
    places = {_batches(place): place for place in PLACES}
    state: Any = None
    for number, batch in enumerate(loader):
        if number in places:
            found[places[number]] = state, batch if number else None
        if number + 1 in places:
            state = loader.state_dict()
        if len(found) == len(PLACES):
            break
    return found


def _resume(make: Callable[[], Any], state: Any, expected: Any) -> float:
    gc.collect()
    loader = make()
    started = time.perf_counter()
    if state is not None:
        loader.load_state_dict(state)
    batch = next(iterator := iter(loader))
    seconds = time.perf_counter() - started
    if expected is not None and not torch.equal(batch, expected):
        raise RuntimeError(f"{type(loader).__name__} went on elsewhere")
    del iterator  # ends the workers, after the time was taken
    return seconds


def _replay(make: Callable[[], DataLoader[Any]], place: float) -> float:
    gc.collect()
    loader = make()
    started = time.perf_counter()
    iterator = iter(loader)
    for _ in range(_batches(place) + 1):
        next(iterator)
    return time.perf_counter() - started


def _permutation() -> float:
    gc.collect()
    started = time.perf_counter()
    order = np.random.RandomState(0).permutation(LENGTH)
    seconds = time.perf_counter() - started
    del order  # its million integers are freed after the time was taken
    return seconds


def _randperm() -> float:
    gc.collect()
    started = time.perf_counter()
    order = torch.randperm(LENGTH).tolist()
    seconds = time.perf_counter() - started
    del order  # its million integers are freed after the time was taken
    return seconds


ORDERS: dict[str, Callable[[], float]] = {
    "RandomState.permutation": _permutation,
    "torch.randperm().tolist()": _randperm,
}


def _summary(seconds: dict[float, list[float]]) -> Resume:
    return Resume(
        best={str(place): min(taken) * 1e3 for place, taken in seconds.items()},
        median={str(place): statistics.median(taken) * 1e3 for place, taken in seconds.items()},
        ratio=median_ratio(seconds[PLACES[-1]], seconds[PLACES[1]]),
    )


def _bytes(state: Any) -> dict[str, int | None]:
    """Return the size of a state; None where it is no JSON."""
    try:
        text = json.dumps(state, separators=(",", ":"))
    except TypeError:
        text = ""
    return {"pickle": len(pickle.dumps(state)), "json": len(text) or None}
