"""Act on a module at the moment at which its import has ended.

wrapt has such hooks, too, but brings asyncio, ssl and 30 ms into the process of every script: these serve all of us.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

TYPE_CHECKING = False  # importing typing would double what a script waits for here
if TYPE_CHECKING:
    from typing import Any, TypeAlias

_SOURCES = "deterministic.sources"

Act: TypeAlias = "Callable[[ModuleType], object]"


def once_imported(name: str, act: Act) -> None:
    """Call `act` with the module of this full name, once, as soon as its import has ended; at once if it has.

    What it raises, the import raises.
    """
    module = sys.modules.get(name)
    if module is not None:
        act(module)
        return
    _FINDER.waiting.setdefault(name, []).append(act)
    if sys.meta_path[:1] != [_FINDER]:  # an earlier one stays: another thread may be going through the list
        sys.meta_path.insert(0, _FINDER)


def once_torch_imported(act: Act) -> None:
    """Call `act` with `deterministic.sources`, once, as soon as torch has been imported, and they have.

    The sources import torch, so that whichever of them is imported first, they are complete last.
    """
    once_imported("torch", _import_sources)
    once_imported(_SOURCES, act)


def _import_sources(torch: ModuleType) -> None:
    # It may be being imported, and import torch just now; and a script's own torch.py is no torch.
    if _SOURCES not in sys.modules and hasattr(torch, "default_generator"):
        importlib.import_module(_SOURCES)


class _Finder:
    """Finds the modules that are waited for where the others find them, each with a loader of its own."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Act]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that is waited for, with a loader that then acts; None for any other."""
        if name not in self.waiting:
            return None
        for finder in sys.meta_path:
            find_spec = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    loader: Any = _Loader(spec.loader, self.waiting)
                    spec.loader = loader
                return spec
        return None


class _Loader:
    """Stands for the loader of one module, which may serve many and is not ours to change, until it is imported."""

    def __init__(self, loader: Any, waiting: dict[str, list[Act]]) -> None:
        self._loader = loader
        self._waiting = waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Have the module executed, which finds its own loader in its place, and act."""
        spec: Any = module.__spec__
        module.__loader__ = spec.loader = self._loader
        self._loader.exec_module(module)
        for act in self._waiting.pop(module.__name__, ()):
            act(module)


_FINDER = _Finder()
