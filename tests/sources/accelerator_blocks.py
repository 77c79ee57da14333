"""What the tests of the accelerator sources share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from deterministic.ground.config import Config
from deterministic.ground.source import RngSource
from deterministic.sources.accelerators import LazyAccelerator, Mps, PrivateUse1, QueueOrStates
from tests.fakes import LAZY_KINDS

ALL = [LazyAccelerator("cuda"), LazyAccelerator("xpu"), LazyAccelerator("mtia"), Mps(), PrivateUse1()]
all_sources = pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
lazy_kinds = pytest.mark.parametrize("kind", LAZY_KINDS)


@contextmanager
def block(source: RngSource, seed: int | None) -> Iterator[None]:
    """Do with one source what a scope does with all."""
    state = source.capture()
    try:
        source.apply(Config(seed=seed))
        yield
    finally:
        source.restore(state)


def same(before: list[Any], after: list[Any]) -> bool:
    """Return whether two queues hold the same objects."""
    return len(before) == len(after) and all(a is b or a == b for a, b in zip(before, after, strict=True))


class RestoresNothing(LazyAccelerator):
    def restore(self, state: QueueOrStates) -> None: ...


def queue_nothing(module: Any) -> None: ...


def queue_a_seed(module: Any) -> None:
    module.manual_seed_all(1)


def queue_a_seed_and_another_for_the_current_device(module: Any) -> None:
    module.manual_seed_all(1)
    module.manual_seed(2)


def queue_these_in_the_other_order(module: Any) -> None:
    module.manual_seed(2)
    module.manual_seed_all(1)


def queue_states(module: Any) -> None:
    for device in (0, 1):
        module.set_rng_state(torch.Generator().manual_seed(70 + device).get_state(), device)


def queue_a_state_of_one_device(module: Any) -> None:
    module.set_rng_state(torch.Generator().manual_seed(7).get_state(), 1)


def queue_a_state_and_a_seed(module: Any) -> None:
    queue_a_state_of_one_device(module)
    module.manual_seed(1)


QUEUES: list[tuple[Callable[[Any], None], list[int | None]]] = [
    (queue_nothing, [None, None]),
    (queue_a_seed, [1, 1]),
    (queue_a_seed_and_another_for_the_current_device, [2, 1]),
    (queue_these_in_the_other_order, [1, 1]),
    (queue_states, [70, 71]),
    (queue_a_state_of_one_device, [None, 7]),
    (queue_a_state_and_a_seed, [1, 7]),
]


queues = pytest.mark.parametrize(("prepare", "expected"), QUEUES)


class RestoresTheFirstDevice(LazyAccelerator):
    def restore(self, state: QueueOrStates) -> None:
        others = [generator.get_state() for generator in self._bound.default_generators[1:]]
        super().restore(state)
        for generator, other in zip(self._bound.default_generators[1:], others, strict=True):
            generator.set_state(other)


def saved_and_loaded(plain: object) -> Any:
    file = io.BytesIO()
    torch.save(plain, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
