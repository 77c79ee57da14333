"""torch's default generator on the CPU."""

from __future__ import annotations

import torch

from ..ground.config import Config
from ..ground.seeds import torch_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import digest, seeded, torch_state


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
