"""cuDNN: its deterministic algorithms, and the benchmarking that picks an algorithm by timing."""

from __future__ import annotations

from ..ground.config import Config
from ..ground.source import NOTHING, Applied
from .base import LevelFlagSource, torch_flag

_DETERMINISTIC = Applied({"deterministic": True, "benchmark": False})


class Cudnn(LevelFlagSource):
    """`torch.backends.cudnn`: enabled, deterministic, benchmark, benchmark_limit, depthwise kernel; MIOpen's mode."""

    name = "torch.cudnn"

    def __init__(self) -> None:
        super().__init__(
            (
                torch_flag("enabled", "_get_cudnn_enabled", "_set_cudnn_enabled"),
                torch_flag("deterministic", "_get_cudnn_deterministic", "_set_cudnn_deterministic"),
                torch_flag("benchmark", "_get_cudnn_benchmark", "_set_cudnn_benchmark"),
                torch_flag("benchmark_limit", "_cuda_get_cudnn_benchmark_limit", "_cuda_set_cudnn_benchmark_limit"),
                torch_flag("depthwise_kernel", "_get_cudnn_depthwise_kernel", "_set_cudnn_depthwise_kernel"),
                torch_flag("miopen_immediate", "_get_miopen_immediate", "_set_miopen_immediate"),
            )
        )

    def targets(self, config: Config) -> Applied:
        return _DETERMINISTIC if config.applies_cudnn else NOTHING
