"""oneDNN (mkldnn), which runs convolutions, recurrent nets and some matrix products on the CPU."""

from __future__ import annotations

from ..ground.config import Config
from ..ground.source import NOTHING, Applied
from .base import LevelFlagSource, torch_flag

_DETERMINISTIC = Applied({"deterministic": True})


class Mkldnn(LevelFlagSource):
    """`torch.backends.mkldnn`: enabled, deterministic."""

    name = "torch.mkldnn"

    def __init__(self) -> None:
        super().__init__(
            (
                torch_flag("enabled", "_get_mkldnn_enabled", "_set_mkldnn_enabled"),
                torch_flag("deterministic", "_get_mkldnn_deterministic", "_set_mkldnn_deterministic"),
            )
        )

    def targets(self, config: Config) -> Applied:
        return _DETERMINISTIC if config.applies_algorithms else NOTHING
