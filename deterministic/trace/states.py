"""Parameters and buffers, as they were when their module was met and as steps and everything else have left them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, TypeAlias

import torch
from torch.utils.weak import WeakIdKeyDictionary

from .hashes import collect
from .modules import ModuleName
from .observations import Observations
from .places import Spot
from .torch_internals import storage_key

Named: TypeAlias = "Sequence[tuple[str, torch.Tensor]]"

_STEPPED = "stepped"


class States:
    """Records the state of outermost modules, and what else has changed than by steps. Keeps none of it alive.

    Args:
        observations: Where records go.
        learn: Notes what the state of a module is called, and returns it.
        name_of: Tells what a parameter or buffer is called; "" if it is not known.
    """

    def __init__(
        self,
        observations: Observations,
        learn: Callable[[torch.nn.Module], Named],
        name_of: Callable[[torch.Tensor], str],
    ) -> None:
        self._observations = observations
        self._learn = learn
        self._name_of = name_of
        self._roots: weakref.WeakKeyDictionary[torch.nn.Module, ModuleName] = weakref.WeakKeyDictionary()
        self._marks: Any = WeakIdKeyDictionary()  # of each tensor as it was last recorded, as are these:
        self._hashes: Any = WeakIdKeyDictionary()

    def meet(self, module: torch.nn.Module, name: ModuleName, spot: Spot | None) -> Named:
        """Record the state of an outermost module that is called for the first time, and return it."""
        state = self._learn(module)
        if state:
            self._roots[module] = name
            title = f"{name.own} when it was first called"
            self._observations.add("state", title, state, module=name, spot=spot, seen=self._hashes)
            self._marks.update((tensor, _mark_of(tensor)) for _, tensor in state)
        return state

    def step(self, title: str, parameters: Named) -> bool:
        """Record parameters as a step left them, and return whether any can be compared."""
        self._marks.update((parameter, _STEPPED) for _, parameter in parameters)
        return self._observations.add("parameter", title, parameters, seen=self._hashes)

    def look(self, *, is_end: bool = False) -> bool:
        """Record what else has been written or is new; at the end also what `.data` changed, which counts no versions.

        Returns:
            Whether there was any that can be compared.
        """
        has_any = False
        for module, name in list(self._roots.items()):
            state = [*module.parameters(), *module.buffers()]
            changed = [*compress(state, self._have_changed(state) if is_end else map(self._has_moved, state))]
            if not all(map(self._name_of, changed)):
                self._learn(module)
            self._marks.update((tensor, _mark_of(tensor)) for tensor in changed)
            if named := [(self._name_of(tensor), tensor) for tensor in changed]:
                title = f"of {name.own}"
                has_any |= self._observations.add("later state", title, named, module=name, seen=self._hashes)
        return has_any

    def _has_moved(self, tensor: torch.Tensor) -> bool:
        return self._marks.get(tensor) not in (_STEPPED, _mark_of(tensor))

    def _have_changed(self, tensors: Sequence[torch.Tensor]) -> list[bool]:
        before = collect([self._hashes.get(tensor, 0) for tensor in tensors])
        return [one != other for one, other in zip(before, self._observations.read(tensors), strict=True)]


def _mark_of(tensor: torch.Tensor) -> Any:
    """Return what is another value after most changes of a tensor."""
    return None if tensor.is_inference() else tensor._version, storage_key(tensor)
