"""How many threads torch uses for one CPU operation: on CPU the number decides the order of many sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._config import Config
from .base import Applied, Flag, FlagSource, Limit


class Threads(FlagSource):
    """`torch.set_num_threads`. The number of inter-op threads can be set once per process and is left alone."""

    name = "torch.threads"

    def __init__(self) -> None:
        super().__init__((Flag("num_threads", torch.get_num_threads, torch.set_num_threads),))

    def targets(self, config: Config) -> Mapping[str, Any]:
        return {} if config.num_threads is None else {"num_threads": config.num_threads}

    def apply(self, config: Config) -> Applied:
        applied = super().apply(config)
        if applied.values or config.seed is None:
            return applied
        return _UNPINNED


_UNPINNED = Applied(
    limits=(
        Limit(
            "CPU threads",
            "CPU results depend on the number of threads, and it is as this process found it.",
            "Pass num_threads= to have the same number on every machine.",
        ),
    )
)
