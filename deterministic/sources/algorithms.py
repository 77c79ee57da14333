"""torch's deterministic algorithms: the mode, warn_only, and the filling of uninitialised memory."""

from __future__ import annotations

from typing import TypeAlias

import torch

from ..ground.config import Config
from ..ground.source import NOTHING, Applied, JSON, Kind

_ON = Applied({"enabled": True, "warn_only": False})
_WARN = Applied({"enabled": True, "warn_only": True})
_OFF = Applied({"enabled": False})

State: TypeAlias = "tuple[bool, bool, bool]"


class Algorithms:
    """`torch.use_deterministic_algorithms`, its `warn_only`, `torch.utils.deterministic.fill_uninitialized_memory`."""

    name = "torch.deterministic_algorithms"
    kind: Kind = "setting"

    def capture(self) -> State:
        return (
            torch._C._get_deterministic_algorithms(),
            torch._C._get_deterministic_algorithms_warn_only(),
            torch._C._get_deterministic_fill_uninitialized_memory(),
        )

    def apply(self, config: Config) -> Applied:
        # The public setter imports torch._inductor.config on its first call: seconds, for a flag that inductor alone
        # reads (sources/inductor.py sets it where inductor is there).
        if config.allow_nondeterministic:
            torch._C._set_deterministic_algorithms(False, warn_only=torch._C._get_deterministic_algorithms_warn_only())
            return _OFF
        if not config.applies_algorithms:
            return NOTHING
        torch._C._set_deterministic_algorithms(True, warn_only=config.warn_only)
        return _WARN if config.warn_only else _ON

    def restore(self, state: State) -> None:
        enabled, warn_only, fill = state
        torch._C._set_deterministic_algorithms(enabled, warn_only=warn_only)
        torch._C._set_deterministic_fill_uninitialized_memory(fill)

    def describe(self, state: State) -> dict[str, JSON]:
        return dict(zip(("enabled", "warn_only", "fill_uninitialized_memory"), state, strict=True))
