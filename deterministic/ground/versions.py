"""The versions and the hardware that bits depend on."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..ground.source import JSON


def versions() -> dict[str, JSON]:
    """Return the versions and the hardware that bits depend on. Initialises no device."""
    import numpy
    import torch

    cuda = torch.version.cuda
    device: str = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_initialized():
        device = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return {
        "deterministic": _own_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cuda": cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_initialized() else None,
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": device,
        "num_threads": torch.get_num_threads(),
    }


def _own_version() -> str:
    try:
        return metadata.version("deterministic")
    except metadata.PackageNotFoundError:  # a checkout on sys.path, not installed
        return "unknown"
