"""A training that is killed and started again, over a loader of anybody's parts."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deterministic import Checkpoint, fingerprint
from deterministic.errors import DeterministicError, NondeterminismWarning

EPOCHS = 2


class Killed(Exception):
    """What ends a training in its middle."""


class Trained(torch.nn.Module):
    """Its one number depends on every batch and on their order."""

    number: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))

    def learn(self, batch: Any) -> None:
        self.number = (self.number * 31 + int(fingerprint(batch)[:8], 16)) % (2**31 - 1)


def train(loader: Any, folder: Path, *, until: int | None = None) -> tuple[int, int]:
    """Train from the latest checkpoint on; return the number that it ends with, and the steps of all processes."""
    trained = Trained()
    checkpoint = Checkpoint(folder, every=1, model=trained, loader=loader)
    for _ in checkpoint.epochs(EPOCHS):
        for batch in loader:
            trained.learn(batch)
            checkpoint.step()
            if checkpoint.steps == until:
                raise Killed
    return int(trained.number), checkpoint.steps


def killed_anywhere(make: Callable[[], Any], folder: Path, *, stride: int = 1) -> set[str]:
    """Kill a training after each step, start it again, and return how these ended: "exact", "refused", "said"."""
    outcomes = set()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        expected = train(make(), folder / "whole")
        for until in range(1, expected[1], stride):
            with contextlib.suppress(Killed):
                train(make(), folder / str(until), until=until)
            told.clear()
            try:
                ended = train(make(), folder / str(until))
            except DeterministicError:
                outcomes.add("refused")
                continue
            said = any(issubclass(one.category, NondeterminismWarning) for one in told)
            assert ended == expected or said, f"killed after step {until}: {ended} instead of {expected}"
            outcomes.add("exact" if ended == expected else "said")
    return outcomes


def cases(told: list[str]) -> set[str]:
    """Return the cases alone of what a check returned."""
    return {line.partition(":")[0] for line in told}
