"""A small training, and the lines on what it has after each step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deterministic import reproducible
from deterministic.verification.step_lines import LINES
from deterministic.verification.step_states import StepStates


class Wrapper(nn.Module):
    """Holds a module as DistributedDataParallel does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.module(inputs)


def train(
    folder: Path,
    *,
    rank: int = 0,
    steps: int = 3,
    wrap: Callable[[nn.Module], nn.Module] = Wrapper,
    kind: type[Any] = torch.optim.AdamW,
    change: Callable[[int, nn.Module, torch.optim.Optimizer], None] = lambda step, net, optimizer: None,
) -> Path:
    """Train a little, and return the lines on it; `change` is called before each forward."""
    folder.mkdir(exist_ok=True)
    with reproducible(seed=1, num_threads=1), StepStates(folder, rank, None):
        net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        model = wrap(net)
        optimizer = kind(model.parameters(), lr=0.1)
        for step in range(steps):
            change(step, net, optimizer)
            optimizer.zero_grad()
            model(torch.randn(8, 4)).sum().backward()
            optimizer.step()
    return folder / LINES
