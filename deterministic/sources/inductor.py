"""torch.compile's code generator: its deterministic mode, its autotuning, and which generator compiled code draws from.

Its module takes seconds to import, so it is never imported here. Where it is imported inside a scope, a hook applies
the scope's level at that moment, and leaving the scope gives it the values that it would have had outside.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import wrapt

from .._config import Config
from .base import NOTHING, Applied, JSON, Kind

_MODULE = "torch._inductor.config"
_TARGETS: dict[str, Any] = {
    "deterministic": True,
    # What picks a kernel by timing it; the deterministic mode (torch 2.10) forbids the rest.
    "max_autotune": False,
    "max_autotune_gemm": False,
    "max_autotune_pointwise": False,
    "coordinate_descent_tuning": False,
}
_NAMES = (*_TARGETS, "fallback_random")


class NotImported(NamedTuple):
    """The state while the module is not imported: whether the level applies as soon as it is."""

    armed: bool


State: TypeAlias = "tuple[Any, ...] | NotImported"


class Inductor:
    """`torch._inductor.config`: deterministic, autotuning, fallback_random. Per thread and task in torch 2.13."""

    name = "torch.inductor"
    kind: Kind = "setting"

    def __init__(self) -> None:
        # Facts about the process, not saved state: an entry keeps what it saved.
        self._armed = False
        self._watching = False
        self._values_at_import: tuple[Any, ...] | None = None

    @property
    def per_thread(self) -> bool:
        """Whether the values are a thread's own: once the module is there."""
        return _imported() is not None

    def capture(self) -> State:
        module = _imported()
        if module is not None:
            return _read(module)
        if not self._watching:
            self._watching = True
            wrapt.register_post_import_hook(self._imported_now, _MODULE)
        return NotImported(self._armed)

    def apply(self, config: Config) -> Applied:
        if not config.applies_algorithms:
            return NOTHING
        module = _imported()
        if module is None:
            self._armed = True
            return _APPLIED_LATER
        _write(module, _TARGETS)
        return Applied({name: value for name, value in _TARGETS.items() if getattr(module, name, None) is not None})

    def restore(self, state: State) -> None:
        module = _imported()
        if isinstance(state, NotImported):
            self._armed = state.armed
            if module is None:
                return
            # Imported since: as if it had been imported where this state was captured.
            values = self._values_at_import or _read(module)
            _write(module, dict(zip(_NAMES, values, strict=True)) | (_TARGETS if state.armed else {}))
        elif module is not None:
            _write(module, dict(zip(_NAMES, state, strict=True)))

    def describe(self, state: State) -> dict[str, JSON]:
        if isinstance(state, NotImported):
            # Many things import the module in passing (the first optimiser does), and that alone is no difference:
            # what it would be imported with is what is in effect.
            initial: dict[str, JSON] = {
                name: os.environ.get(f"TORCHINDUCTOR_{name.upper()}") == "1" for name in _TARGETS
            }
            initial["fallback_random"] = False
            return initial | (_TARGETS if state.armed else {})
        return {name: bool(value) for name, value in zip(_NAMES, state, strict=True)}

    def _imported_now(self, module: ModuleType) -> None:
        self._values_at_import = _read(module)
        if self._armed:
            _write(module, _TARGETS)


_APPLIED_LATER = Applied({"once_imported": "deterministic, no autotuning"})


def _imported() -> ModuleType | None:
    """Return the module once its import is complete; half-way through, it has no values yet."""
    module = sys.modules.get(_MODULE)
    return module if module is not None and hasattr(module, "_config") else None


def _read(module: ModuleType) -> tuple[Any, ...]:
    return tuple(getattr(module, name, None) for name in _NAMES)


def _write(module: ModuleType, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        # None: this torch has no such option.
        if getattr(module, name, None) not in (None, value):
            setattr(module, name, value)
