"""A training killed again and again, and resumed: `python -m tests.checkpoint.crashes FOLDER KILLS SEED MODE..`.

One process imports everything and forks the trainings, so that a training begins at once; it never computes anything
itself. What it prints is JSON: how often it has killed, and the fingerprints that the trainings have ended with.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from deterministic import Checkpoint, fingerprint, make_loader, reproducible
from deterministic.checkpoint import container
from deterministic.checkpoint.directory import saved_steps

EPOCHS, BATCHES, BATCH_SIZE = 3, 16, 16
WRITES_SLOWLY = "write"
DIGITS = load_digits(return_X_y=True)


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """Handwritten digits, shifted and blurred at random by three libraries' generators."""

    def __init__(self) -> None:
        images, labels = DIGITS
        count = BATCHES * BATCH_SIZE
        self.images = torch.tensor(images[:count], dtype=torch.float32).view(-1, 1, 8, 8) / 16
        self.labels = torch.tensor(labels[:count])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index].roll(random.randint(-1, 1), 2)
        return image + 0.1 * torch.randn(image.shape) * np.random.rand(), self.labels[index]


def train(directory: Path, workers: int) -> str:
    """Train to the end, from the last checkpoint on, and return the fingerprint of all that there is."""
    torch.set_num_threads(1)
    with reproducible(seed=11) as run:
        model = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            *(nn.Dropout(0.2), nn.Linear(256, 10)),
        )
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS * BATCHES)
        loader = make_loader(Digits(), batch_size=BATCH_SIZE, shuffle=True, num_workers=workers)
        parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader}
        checkpoint = Checkpoint(directory, every=3, **parts)
        if checkpoint.steps:
            torch.rand(checkpoint.steps)  # what is drawn before the loop shifts nothing
            random.random()
        for _ in checkpoint.epochs(EPOCHS):
            for images, labels in loader:
                F.cross_entropy(model(images), labels).backward()
                if checkpoint.steps % 2:  # gradients are accumulated over two batches
                    optimizer.step()
                    optimizer.zero_grad()
                    scheduler.step()
                checkpoint.step()
            drawn = torch.rand(()).item() + np.random.rand() + random.random() + run.numpy("mine").random()
            checkpoint.values["drawn"] = checkpoint.values.get("drawn", 0.0) + drawn
        end = [torch.rand(2), random.random(), np.random.rand(), run.numpy("mine").random()]
        states = [model.state_dict(), optimizer.state_dict(), scheduler.state_dict()]
        return fingerprint([*states, checkpoint.values, checkpoint.steps, end])


def fork(work: Callable[[], str], result: Path) -> int:
    """Start a process that writes what `work` returns into a file, at once: it may be killed as it writes."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        (whole := result.with_suffix(f".{os.getpid()}")).write_text(work())
        whole.replace(result)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - nothing may return into the parent's code
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)


def end_of(pid: int) -> int | None:
    """Return the exit status of a process, None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return None if not found else status


def write_slowly() -> None:
    """Let every checkpoint take some time to be written, so that it is often killed in the middle of it."""
    write = container.write_pieces

    def slow(file: Any, *given: Any) -> str:
        class Slow:
            def write(self, data: Any) -> int:
                time.sleep(0.002)
                written: int = file.write(data)
                file.flush()
                return written

            def seek(self, place: int) -> int:
                time.sleep(0.005)
                moved: int = file.seek(place)
                return moved

        checksum = write(Slow(), *given)  # type: ignore[arg-type]
        time.sleep(0.005)
        return checksum

    container.write_pieces = slow  # type: ignore[assignment]


def is_writing(directory: Path) -> bool:
    """Return whether a checkpoint is being written."""
    return any(directory.glob(".*.tmp"))


def kill_workers_of(trainings: list[int]) -> None:
    """End the worker processes of trainings that were killed: torch's do, but not if they have just been started."""
    while trainings:
        with suppress(ProcessLookupError):
            os.killpg(trainings.pop(), signal.SIGKILL)


def kill_again_and_again(folder: Path, kills: int, draws: random.Random, mode: str) -> dict[str, Any]:
    """Train, kill, resume, until so many were killed (while they wrote) and the last has come to its end."""
    if mode == WRITES_SLOWLY:
        write_slowly()
    ends: list[str] = []
    left: list[int] = []
    killed = while_writing = 0
    while (while_writing if mode == WRITES_SLOWLY else killed) < kills:
        directory = folder / f"training{len(ends)}"
        result = folder / "result"
        result.unlink(missing_ok=True)
        longest, saved = 0.3, 0
        while not result.exists():
            workers = draws.choice([0, 2])
            pid = fork(lambda directory=directory, workers=workers: train(directory, workers), result)  # type: ignore[misc]
            wait = draws.uniform(0.05, longest)
            deadline = time.monotonic() + wait
            status = None
            while status is None and time.monotonic() < deadline:
                time.sleep(0.0005)
                status = end_of(pid)
                if mode == WRITES_SLOWLY and time.monotonic() > deadline - 0.2 and is_writing(directory):
                    break
            if status is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                kill_workers_of(left)
                left.append(pid)  # whose workers live on beside the training that resumes it
                killed += 1
                while_writing += is_writing(directory)
                last = max(saved_steps(directory), default=0) if directory.exists() else 0
                if last > saved:
                    saved = last
                else:
                    longest *= 1.2  # a machine that is busy makes no step in so short a time
            elif status:
                raise RuntimeError(f"a training ended with {status}")
        kill_workers_of(left)
        ends.append(result.read_text())
        shutil.rmtree(directory)
    return {"killed": killed, "while writing": while_writing, "ends": ends}


def main() -> None:
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports dynamo, which takes longer than a training here
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    reference = folder / "reference"
    os.waitpid(fork(lambda: train(folder / "uninterrupted", 0), reference), 0)
    whole = {"uninterrupted": reference.read_text()}
    found = {mode: kill_again_and_again(folder, kills, random.Random(seed), mode) | whole for mode in sys.argv[4:]}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
