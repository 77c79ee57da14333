"""Parameters and buffers: what they are called, how they were when their module was met, and what changed them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from operator import ne
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from ...values.hashes import collect
from ..file.model import Kind
from .modules import OUTSIDE, ModuleName
from .places import Spot
from .records import Records
from .torch_internals import COMPILED, storage_key, version_of

NamedTensors: TypeAlias = Sequence[tuple[str, torch.Tensor]]

_STEPPED = "stepped"


class _Named(NamedTuple):
    tensor: Callable[[], torch.Tensor | None]
    path: str = ""
    owner: ModuleName = OUTSIDE


class States:
    """Names and records the state of outermost modules, and what else has changed than by steps. Keeps none alive."""

    def __init__(self, records: Records, name_of: Callable[[torch.nn.Module], ModuleName]) -> None:
        self._records = records
        self._name_of = name_of
        # In the order in which they were met: that of a WeakSet is another one in each run.
        self._roots: weakref.WeakKeyDictionary[torch.nn.Module, None] = weakref.WeakKeyDictionary()
        self._names: dict[int, _Named] = {}  # by id: tensors compare element by element
        self._marks: Any = WeakIdKeyDictionary()  # of each tensor as it was last recorded, as are these:
        self._hashes: Any = WeakIdKeyDictionary()

    def path(self, tensor: torch.Tensor) -> str:
        """Return "blocks.0.up.weight"; empty for a tensor that is not known."""
        return self._find(tensor).path

    def owner(self, tensor: torch.Tensor) -> ModuleName:
        return self._find(tensor).owner

    def _find(self, tensor: torch.Tensor) -> _Named:
        known = self._names.get(id(tensor), _UNKNOWN)
        return known if known.tensor() is tensor else _UNKNOWN

    def _learn(self, root: torch.nn.Module) -> NamedTensors:
        """Name the state of an outermost module, and return it."""
        state: dict[int, tuple[str, torch.Tensor]] = {}
        for prefix, module in root.named_modules():
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if id(tensor) not in state:
                    path = ".".join(step for step in (*prefix.split("."), name) if step not in ("", COMPILED))
                    state[id(tensor)] = path, tensor
                    self._names[id(tensor)] = _Named(weakref.ref(tensor), path, self._name_of(module))
        return [known for known in state.values() if not is_lazy(known[1])]  # which has no values yet

    def meet(self, module: torch.nn.Module, spot: Spot | None) -> NamedTensors:
        """Record the state of an outermost module that is called for the first time, and return it."""
        state = self._learn(module)
        if state:
            self._roots[module] = None
            self._add("state", module, "when it was first called", state, spot)
        return state

    def step(self, title: str, parameters: NamedTensors) -> int:
        """Record parameters as a step left them, and return how many can be compared."""
        self._marks.update((parameter, _STEPPED) for _, parameter in parameters)
        return self._records.add("parameter", title, parameters, seen=self._hashes)

    def look(self, *, is_end: bool = False) -> int:
        """Record what else has been written or is new, and return how much of it can be compared.

        At the end also what `.data` changed, which counts no versions.
        """
        compared = 0
        for module in list(self._roots):
            changed = [*(self._changed(module) if is_end else self._moved(module))]
            if not all(map(self.path, changed)):
                self._learn(module)
            if changed:
                named = [(self.path(tensor), tensor) for tensor in changed]
                compared += self._add("later state", module, "after a step" if not is_end else "at the end", named)
        return compared

    def _add(
        self, kind: Kind, module: torch.nn.Module, when: str, state: NamedTensors, spot: Spot | None = None
    ) -> int:
        self._marks.update((tensor, _mark_of(tensor)) for _, tensor in state)
        name = self._name_of(module)
        title = f"{name.own} {when}"
        return self._records.add(kind, title, state, module=name, spot=spot, seen=self._hashes)

    def _moved(self, module: torch.nn.Module) -> Iterator[torch.Tensor]:
        for part in module.modules():
            own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
            own = [tensor for tensor in own if self._marks.get(tensor) != _STEPPED]
            # Batch normalisation counts no version of what it writes, but does of how many batches it has seen.
            if any(self._marks.get(tensor) != _mark_of(tensor) for tensor in own):
                yield from own

    def _changed(self, module: torch.nn.Module) -> Iterator[torch.Tensor]:
        state = [*module.parameters(), *module.buffers()]
        before = collect([self._hashes.get(tensor, 0) for tensor in state])
        return compress(state, map(ne, before, self._records.read(state)))


_UNKNOWN = _Named(lambda: None)


def _mark_of(tensor: torch.Tensor) -> Any:
    """Return what is another value after most changes of a tensor."""
    return version_of(tensor), storage_key(tensor)
