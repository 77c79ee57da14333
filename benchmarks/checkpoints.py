"""Checkpoints: what a step costs when none is due, how fast one is written, and when a resumed epoch begins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from deterministic import Checkpoint, make_loader, reproducible, save_checkpoint

from .loaders import BATCH_SIZE
from .resume import LENGTH, PLACES
from .timing import in_turn, median_ratio

AIM_STEP, AIM_RATE, AIM_MEMORY, AIM_PLACE = 1.01, 0.6, 64 << 20, 1.2
STEPS = 500
STATE = 512 << 20
"""Bytes that are saved: a model, and two states of its optimizer."""

_PIECE = 16 << 20


def steps(*, rounds: int) -> dict[str, Any]:
    """Time training steps with a `Checkpoint.step()` that is not due, beside the same without."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    batch = torch.randn(64, 64)

    def timed(after: Callable[[], None]) -> float:
        started = time.thread_time()
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            after()
        return (time.thread_time() - started) / STEPS

    try:
        with tempfile.TemporaryDirectory() as folder, reproducible(seed=0):
            checkpoint = Checkpoint(folder, every=10**9, every_seconds=1e9, model=model, optimizer=optimizer)
            trials = {"plain": partial(timed, lambda: None), "step()": partial(timed, checkpoint.step)}
            seconds = in_turn(trials, rounds=rounds)
            checkpoint.close()
    finally:
        torch.set_num_threads(threads)
    return {
        "microseconds": {name: min(taken) * 1e6 for name, taken in seconds.items()},
        "ratio": median_ratio(seconds["step()"], seconds["plain"]),
    }


def writing(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Time saving, beside writing as many bytes in order to the same disk; both with fsync."""
    state = {str(number): torch.randn(STATE // 16 // 4) for number in range(16)}
    piece = os.urandom(_PIECE)

    def fresh(name: str) -> Path:
        (folder / name).unlink(missing_ok=True)  # to free what was there takes time, too
        return folder / name

    def plain() -> float:
        path = fresh("plain")
        started = time.perf_counter()
        with open(path, "wb", buffering=0) as file:
            for _ in range(STATE // _PIECE):
                file.write(piece)
            os.fsync(file.fileno())
        return time.perf_counter() - started

    def saved() -> float:
        path = fresh("saved")
        started = time.perf_counter()
        save_checkpoint(path, state=state)
        return time.perf_counter() - started

    def pickled() -> float:
        path = fresh("pickled")
        started = time.perf_counter()
        with open(path, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        return time.perf_counter() - started

    seconds = in_turn({"plain": plain, "save_checkpoint": saved, "torch.save": pickled}, rounds=rounds)
    return {
        "seconds": {name: min(taken) for name, taken in seconds.items()},
        "rate": {name: 1 / median_ratio(taken, seconds["plain"]) for name, taken in seconds.items()},
    }


_PEAK = """
import resource, sys, torch
from deterministic import save_checkpoint
state = {str(number): torch.randn(%d) for number in range(16)}
save_checkpoint(sys.argv[1], small=torch.zeros(1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_checkpoint(sys.argv[1], state=state)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory(folder: Path) -> int:
    """Return by how many bytes the peak of a fresh process rises while it saves."""
    command = [sys.executable, "-c", _PEAK % (STATE // 16 // 4), str(folder / "peak")]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024


def resuming(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Time from the making of a Checkpoint to the first batch, by how much of an epoch of a million is behind."""

    def training(name: str) -> tuple[Any, Checkpoint]:
        loader = make_loader(range(LENGTH), batch_size=BATCH_SIZE, shuffle=True)
        return loader, Checkpoint(folder / name, model=nn.Linear(8, 8), loader=loader)

    names = {f"{place:.0%}": place for place in PLACES}
    with reproducible(seed=0):
        for name, place in names.items():
            loader, checkpoint = training(name)
            behind = int(place * LENGTH) // BATCH_SIZE
            for _ in checkpoint.epochs(1):
                for number, _ in enumerate(loader, 1):
                    if number >= behind:
                        checkpoint.save()
                        break
                break
            checkpoint.close()

    def first_batch(name: str) -> float:
        with reproducible(seed=0):
            started = time.perf_counter()
            loader, checkpoint = training(name)
            for _ in checkpoint.epochs(1):
                next(iter(loader))
                break
            taken = time.perf_counter() - started
            checkpoint.close()
        return taken

    def first_batch_of_accelerate(place: float) -> float:
        started = time.perf_counter()
        loader = accelerator.prepare(DataLoader(range(LENGTH), BATCH_SIZE, shuffle=True))  # type: ignore[arg-type]
        next(iter(skip_first_batches(loader, int(place * LENGTH) // BATCH_SIZE)))
        return time.perf_counter() - started

    from accelerate import Accelerator, skip_first_batches

    accelerator = Accelerator(cpu=True)
    ours = {name: partial(first_batch, name) for name in names}
    others = {f"{name}, Accelerate": partial(first_batch_of_accelerate, place) for name, place in names.items()}
    seconds = in_turn({**ours, **others}, rounds=rounds)
    return {
        "milliseconds": {name: min(taken) * 1e3 for name, taken in seconds.items()},
        "ratio of 90 % to 10 %": median_ratio(seconds["90%"], seconds["10%"]),
        "the same, Accelerate": median_ratio(seconds["90%, Accelerate"], seconds["10%, Accelerate"]),
    }


def measure(*, rounds: int, folder: Path | None = None) -> dict[str, Any]:
    """Measure all of it.

    Args:
        rounds: How often each is timed.
        folder: On the disk to measure; the system's own place for temporary files if omitted.
    """
    from . import lightning  # with it, and with Accelerate, comes inductor: scopes are measured without

    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        return {
            "steps": steps(rounds=rounds),
            "writing": writing(place, rounds=rounds),
            "peak while saving, bytes": memory(place),
            "resuming": resuming(place, rounds=rounds),
            "Lightning": lightning.first_steps(place, rounds=rounds),
        }
    finally:
        shutil.rmtree(place)


def show(found: dict[str, Any]) -> None:
    """Print the figures beside their aims."""
    print(f"\na step, {STEPS} in a row: {found['steps']['microseconds']} us")
    print(f"  with step() that is not due: {found['steps']['ratio']:.4f} (aim: {AIM_STEP})")
    print(f"\nsaving {STATE >> 20} MiB, s: {found['writing']['seconds']}")
    print(f"  as a share of writing alone: {found['writing']['rate']} (aim: {AIM_RATE})")
    print(f"  memory beside the state: {found['peak while saving, bytes'] >> 20} MiB (aim: {AIM_MEMORY >> 20})")
    print(f"\nto the first batch, ms: {found['resuming']['milliseconds']}")
    print(f"  90 % to 10 %: {found['resuming']['ratio of 90 % to 10 %']:.2f} (aim: {AIM_PLACE})")
    print(f"  Accelerate, which is not exact there: {found['resuming']['the same, Accelerate']:.2f}")
    print(f"\nLightning, to the first step, ms: {found['Lightning']['milliseconds']}")
    print(f"  90 % to 10 %: {found['Lightning']['ratio of 90 % to 10 %']}")
