"""torch's deterministic algorithms: the mode, warn_only, and the filling of uninitialised memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._config import Config
from .base import Flag, FlagSource, torch_flag

_ON = {"enabled": True, "warn_only": False}
_WARN = {"enabled": True, "warn_only": True}
_OFF = {"enabled": False}

# The public setter imports torch._inductor.config on its first call: seconds, for a flag that inductor alone reads
# (sources/inductor.py sets it where inductor is there). It also forgets warn_only when it is not told.


def _set_enabled(enabled: bool) -> None:
    torch._C._set_deterministic_algorithms(enabled, warn_only=torch._C._get_deterministic_algorithms_warn_only())


def _set_warn_only(warn_only: bool) -> None:
    torch._C._set_deterministic_algorithms(torch._C._get_deterministic_algorithms(), warn_only=warn_only)


class Algorithms(FlagSource):
    """`torch.use_deterministic_algorithms`, its `warn_only`, `torch.utils.deterministic.fill_uninitialized_memory`."""

    name = "torch.deterministic_algorithms"

    def __init__(self) -> None:
        super().__init__(
            (
                Flag("enabled", torch._C._get_deterministic_algorithms, _set_enabled),
                Flag("warn_only", torch._C._get_deterministic_algorithms_warn_only, _set_warn_only),
                torch_flag(
                    "fill_uninitialized_memory",
                    "_get_deterministic_fill_uninitialized_memory",
                    "_set_deterministic_fill_uninitialized_memory",
                ),
            )
        )

    def targets(self, config: Config) -> Mapping[str, Any]:
        if config.allow_nondeterministic:
            return _OFF
        if not config.applies_algorithms:
            return {}
        return _WARN if config.warn_only else _ON
