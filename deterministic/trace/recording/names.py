"""What parameters and buffers are called, and which module has them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.parameter import is_lazy

from .modules import COMPILED, OUTSIDE, ModuleName


class _Known(NamedTuple):
    tensor: weakref.ref[torch.Tensor]
    path: str
    owner: ModuleName


class ParameterNames:
    """Knows the parameters and buffers of the outermost modules that were met. Keeps none of them alive."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}  # by id: tensors compare element by element

    def learn(
        self, root: torch.nn.Module, name_of: Callable[[torch.nn.Module], ModuleName]
    ) -> list[tuple[str, torch.Tensor]]:
        """Note the state of an outermost module, and return it.

        Args:
            root: The module.
            name_of: Tells what its parts are called.
        """
        found: dict[int, tuple[str, torch.Tensor]] = {}
        for prefix, module in root.named_modules():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, tensor in own:
                steps = [step for step in (*prefix.split("."), name) if step not in ("", COMPILED)]
                if id(tensor) not in found:
                    found[id(tensor)] = path, _ = ".".join(steps), tensor
                    self._known[id(tensor)] = _Known(weakref.ref(tensor), path, name_of(module))
        return [known for known in found.values() if not is_lazy(known[1])]  # which has no values yet

    def path(self, tensor: torch.Tensor) -> str:
        """Return "blocks.0.up.weight"; empty for a tensor that is not known."""
        known = self._find(tensor)
        return known.path if known else ""

    def owner(self, tensor: torch.Tensor) -> ModuleName:
        """Return the module that a parameter belongs to."""
        known = self._find(tensor)
        return known.owner if known else OUTSIDE

    def _find(self, tensor: torch.Tensor) -> _Known | None:
        known = self._known.get(id(tensor))
        return known if known is not None and known.tensor() is tensor else None
