"""Act on a module at the moment at which its import has ended.

wrapt has such hooks, too, but brings asyncio, ssl and 30 ms into the process of every script.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeAlias

_SOURCES = "deterministic.sources"

Act: TypeAlias = Callable[[ModuleType], object]


def once_imported(name: str, act: Act) -> None:
    """Call `act` with the module as soon as its import has ended; at once if it has.

    Args:
        name: The module's full name.
        act: What is called, once; what it raises, the import raises.
    """
    module = sys.modules.get(name)
    if module is not None:
        act(module)
        return
    sys.meta_path.insert(0, _Finder(name, act))


def once_torch_imported(act: Act) -> None:
    """Call `act` with `deterministic.sources` as soon as torch has been imported, and they have; at once if both are.

    The sources import torch, so that whichever of them is imported first, they are complete last.

    Args:
        act: What is called, once.
    """
    once_imported("torch", lambda _: _import_sources())
    once_imported(_SOURCES, act)


def _import_sources() -> None:
    if _SOURCES not in sys.modules:  # else it is being imported, and imports torch just now
        importlib.import_module(_SOURCES)


class _Finder:
    """Finds one module where the others find it, and leaves once it is found: its loader stays the one that it has."""

    def __init__(self, name: str, act: Act) -> None:
        self._name = name
        self._act = act

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the one module, with a loader that then acts; None for any other."""
        if name != self._name:
            return None
        for finder in sys.meta_path:
            find_spec = None if isinstance(finder, _Finder) else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                self._act_after(spec.loader)
                return spec
        return None

    def _act_after(self, loader: Any) -> None:
        execute = loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            del loader.exec_module  # what stood on the instance alone
            sys.meta_path.remove(self)
            self._act(module)

        loader.exec_module = execute_and_act
