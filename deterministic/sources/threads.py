"""How many threads torch uses for one CPU operation: on CPU the number decides the order of many sums."""

from __future__ import annotations

import torch

from ..ground.config import Config
from ..ground.source import NOTHING, Applied, Limit
from .base import Flag, LevelFlagSource


class Threads(LevelFlagSource):
    """`torch.set_num_threads`. The number of inter-op threads can be set once per process and is left alone."""

    name = "torch.threads"

    def __init__(self) -> None:
        super().__init__((Flag("num_threads", torch.get_num_threads, torch.set_num_threads),))

    def targets(self, config: Config) -> Applied:
        if config.num_threads is not None:
            return Applied({"num_threads": config.num_threads})
        return NOTHING if config.seed is None else _UNPINNED


_UNPINNED = Applied(
    limits=(
        Limit(
            "CPU threads",
            "CPU results depend on the number of threads, and it is as this process found it.",
            "Pass num_threads= to have the same number on every machine.",
        ),
    )
)
