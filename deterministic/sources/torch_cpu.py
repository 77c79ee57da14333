"""torch's default generator on the CPU."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from ..ground.config import Config
from ..ground.seeds import torch_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import TORCH_TWISTER, digest, seeded, torch_state


class TorchCpu:
    """`torch.manual_seed`, `torch.rand` and the rest on the CPU, with the cached normal deviate."""

    name = "torch.cpu"
    kind: SourceKind = "rng"

    def capture(self) -> torch.Tensor:
        return torch.default_generator.get_state()

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        # Not torch.manual_seed: that formats a traceback for each device that is not initialised, 90-600 us.
        seed = torch_seed(config.seed)
        torch.default_generator.manual_seed(seed)
        return seeded(seed)

    def restore(self, state: torch.Tensor) -> None:
        torch.default_generator.set_state(state)

    def describe(self, state: torch.Tensor) -> dict[str, JSON]:
        return {"digest": digest(state.numpy().tobytes())}

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return state

    def decode(self, plain: torch.Tensor) -> torch.Tensor:
        return torch_state(plain, "cpu")


@cache
def layout_holds() -> bool:
    """Return whether a state has its words where `TORCH_TWISTER` says: those that numpy makes of the same seed."""
    state = torch.Generator("cpu").manual_seed(7).get_state().numpy()
    if state.nbytes != TORCH_TWISTER.itemsize:
        return False
    seed, left, seeded, following, words, *_ = state.view(TORCH_TWISTER)[0]
    expected: Any = np.random.RandomState(7).get_state(legacy=False)
    return (seed, left, seeded, following) == (7, 1, 1, 0) and np.array_equal(words, expected["state"]["key"])
