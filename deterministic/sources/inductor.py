"""torch.compile's code generator: its deterministic mode, its autotuning, and which generator compiled code draws from.

Its module takes seconds to import, so it is never imported here. Where it is imported inside a scope, a hook applies
the scope's level at that moment, and leaving the scope gives it the values that it would have had outside.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from ..ground.config import Config
from ..ground.imports import once_imported
from ..ground.source import NOTHING, Applied, JSON, SourceKind

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


OptionsOrNotImported: TypeAlias = "dict[str, Any] | NotImported"


class _Options:
    """The options of the imported module that this torch has."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self._readers = {name: _reader(module, name) for name in _NAMES if getattr(module, name, None) is not None}
        self.applied = Applied({name: value for name, value in _TARGETS.items() if name in self._readers})

    def read(self) -> dict[str, Any]:
        return {name: read() for name, read in self._readers.items()}

    def write(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if self._readers[name]() != value:
                setattr(self.module, name, value)


class Inductor:
    """`torch._inductor.config`: deterministic, autotuning, fallback_random. Per thread and task in torch 2.13."""

    name = "torch.inductor"
    kind: SourceKind = "setting"

    def __init__(self) -> None:
        # Facts about the process, not saved state: an entry keeps what it saved.
        self._armed = False
        self._watching = False
        self._known: _Options | None = None
        self._values_at_import: dict[str, Any] = {}

    @property
    def per_thread(self) -> bool:
        """Whether the values are a thread's own: once the module is there."""
        return self._options() is not None

    def capture(self) -> OptionsOrNotImported:
        options = self._options()
        if options is not None:
            return options.read()
        if not self._watching:
            self._watching = True
            once_imported(_MODULE, self._imported_now)
        return NotImported(self._armed)

    def apply(self, config: Config) -> Applied:
        if not config.applies_algorithms:
            return NOTHING
        options = self._options()
        if options is None:
            self._armed = True
            return _APPLIED_LATER
        options.write(options.applied.values)
        return options.applied

    def restore(self, state: OptionsOrNotImported) -> None:
        options = self._options()
        if isinstance(state, NotImported):
            self._armed = state.armed
            if options is not None:
                # Imported since: as if it had been imported where this state was captured.
                options.write({**self._values_at_import, **(options.applied.values if state.armed else {})})
        elif options is not None:
            options.write(state)

    def describe(self, state: OptionsOrNotImported) -> dict[str, JSON]:
        if isinstance(state, NotImported):
            # Many things import the module in passing (the first optimiser does), and that alone is no difference:
            # what it would be imported with is what is in effect.
            initial: dict[str, JSON] = {
                name: os.environ.get(f"TORCHINDUCTOR_{name.upper()}") == "1" for name in _TARGETS
            }
            return {**initial, "fallback_random": False, **(_TARGETS if state.armed else {})}
        return {name: bool(state.get(name)) for name in _NAMES}

    def _options(self) -> _Options | None:
        """Return the options once the import of the module is complete; half-way through, it has none yet."""
        module = sys.modules.get(_MODULE)
        if module is None or not hasattr(module, "_config"):
            return None
        if self._known is None or self._known.module is not module:
            self._known = _Options(module)
        return self._known

    def _imported_now(self, module: ModuleType) -> None:
        options = self._options()
        if options is not None:
            self._values_at_import = options.read()
            if self._armed:
                options.write(options.applied.values)


_APPLIED_LATER = Applied({"once_imported": "deterministic, no autotuning"})


def _reader(module: ModuleType, name: str) -> Callable[[], Any]:
    """Return what reads an option: in torch 2.13 the context variable behind it, since the module takes 2 us."""
    entry = module._config.get(name)
    override = getattr(entry, "user_override", None)
    if not isinstance(override, ContextVar) or not _is_simple(entry):
        return partial(getattr, module, name, None)
    unset, default = Context().run(override.get), entry.default

    def read() -> Any:
        value = override.get()
        return default if value is unset else value

    return read


def _is_simple(entry: Any) -> bool:
    """Return whether an option is what was set, else its default: no alias, no variable of the environment."""
    unset = type(entry).env_value_force
    return (
        entry.alias is None
        and entry.justknob is None
        and entry.env_value_force is unset
        and entry.env_value_default is unset
    )
