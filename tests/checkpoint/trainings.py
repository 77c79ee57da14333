"""A small training that is interrupted and goes on, for the tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from deterministic import Checkpoint, fingerprint, make_loader, reproducible


class Interrupted(Exception):
    """What ends a training in the middle."""


class Noisy(Dataset[Tensor]):
    """Samples that draw."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(3) + index


class Training:
    """A training whose parts a test can look at and change.

    Args:
        directory: Of the checkpoints.
        workers: Of the loader.
        more: Further parts.
        wrap: What the model is wrapped in.
        how: Further arguments of the Checkpoint.
    """

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 0,
        more: Mapping[str, Any] | None = None,
        wrap: Callable[[nn.Module], Any] = lambda model: model,
        **how: Any,
    ) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
        self.model: nn.Module = wrap(model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 0.05)
        self.loader = make_loader(Noisy(), batch_size=3, shuffle=True, num_workers=workers)
        parts: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer, "loader": self.loader}
        self.checkpoint = Checkpoint(directory, **{"every": 2, **how}, **(more or {}), **parts)

    def step(self, batch: Tensor) -> None:
        """Make one step."""
        self.optimizer.zero_grad()
        self.model(batch).square().mean().backward()
        self.optimizer.step()

    def epochs(self, count: int, after: Callable[[int], None] = lambda steps: None) -> Iterator[int]:
        """Train; call `after` with the number of steps after each; yield each epoch after its batches."""
        for epoch in self.checkpoint.epochs(count):
            for batch in self.loader:
                self.step(batch)
                self.checkpoint.step()
                after(self.checkpoint.steps)
            self.checkpoint.values.setdefault("drawn", []).append(torch.rand(()).item() + random.random())
            yield epoch

    def end(self) -> str:
        """Return the fingerprint of all that there is at the end, the next draws included."""
        states = [self.model.state_dict(), self.optimizer.state_dict()]
        return fingerprint([*states, self.checkpoint.values, self.checkpoint.steps, torch.rand(2), random.random()])


def stop_at(steps: int) -> Callable[[int], None]:
    """Return what interrupts a training after so many steps."""

    def stop(done: int) -> None:
        if done == steps:
            raise Interrupted

    return stop


def trained_by(
    epoch: Callable[[Training], None], directory: Path, *, more: Mapping[str, Any] | None = None, **how: Any
) -> str | None:
    """Train two epochs by a loop of the test's own; return the fingerprint of the end, or None if it was interrupted.

    Args:
        epoch: Makes the steps of one epoch.
        directory: Of the checkpoints.
        more: Further parts.
        how: Further arguments of the Checkpoint.
    """
    with reproducible(seed=5):
        training = Training(directory, more=more, **how)
        try:
            for _ in training.checkpoint.epochs(2):
                epoch(training)
        except Interrupted:
            return None
        finally:
            training.checkpoint.close()
        return training.end()


def trained(directory: Path, *, epochs: int = 3, stop: int = -1, draws: int = 0, **how: Any) -> str | None:
    """Train to the end and return its fingerprint, or to an interruption and return None.

    Args:
        directory: Of the checkpoints.
        epochs: How many in all.
        stop: After how many steps it is interrupted.
        draws: How much is drawn before the loop, by a training that goes on.
        how: Further arguments of the Checkpoint, and of `Training`.
    """
    with reproducible(seed=5):
        training = Training(directory, **how)
        if training.checkpoint.steps:
            torch.rand(draws)
            [random.random() for _ in range(draws)]
        try:
            for _ in training.epochs(epochs, stop_at(stop)):
                pass
        except Interrupted:
            return None
        finally:
            training.checkpoint.close()
        return training.end()
