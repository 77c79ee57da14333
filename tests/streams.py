"""What a test draws, what it must get from a seed, and somebody else to draw meanwhile."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pytest
import torch

from deterministic import current_run, reproducible
from deterministic.errors import DeterministicError

T = TypeVar("T")
Draw: TypeAlias = tuple[float, float, float]

SECONDS = 30
"""How long to wait for what must happen."""


def draw() -> Draw:
    """Draw once from each of the process's CPU generators."""
    return random.random(), float(np.random.random()), torch.rand((), dtype=torch.float64).item()


def stream(seed: int, count: int) -> list[Draw]:
    """Return what `count` calls of `draw` give after seeding by hand; touches none of the process's generators."""
    python, numpy, cpu = random.Random(seed), np.random.RandomState(seed), torch.Generator().manual_seed(seed)
    return [
        (python.random(), float(numpy.random_sample()), torch.rand((), dtype=torch.float64, generator=cpu).item())
        for _ in range(count)
    ]


@reproducible(seed=1)
def draws(cleaned_up: list[Draw] | None = None) -> Generator[Draw, None, None]:
    """Draw again and again, and once more into `cleaned_up` when closed."""
    try:
        while True:
            yield draw()
    finally:
        if cleaned_up is not None:
            cleaned_up.append(draw())


def line_above() -> str:
    """Return the line above the caller's, as error texts write it."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno - 1}"


def no_scope_is_open() -> bool:
    """Return whether this is outside of every scope: no current run, and no deterministic algorithms."""
    with pytest.raises(DeterministicError, match="no scope is open"):
        current_run()
    return not torch.are_deterministic_algorithms_enabled()


def in_thread(function: Callable[[], T]) -> T:
    """Run `function` on a thread of its own; return or raise what it does."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(SECONDS)


async def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run each as a task, all at once; return what each returned or raised."""
    return list(await asyncio.gather(*coroutines, return_exceptions=True))
