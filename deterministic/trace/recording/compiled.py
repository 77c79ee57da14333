"""Regions that torch.compile generated code for: one record for each time one runs."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from ...ground.imports import once_imported
from ...values.value import is_plain
from .drafts import Draft
from .generators import Watched
from .operations import tensors_in
from .storages import THREAD
from .threads import works_for

if TYPE_CHECKING:
    from .attribution import Attribution, Where
    from .drafts import Drafts
    from .observations import Pause

_MODULE = "torch._inductor.output_code"
_CLASS = "CompiledFxGraph"

_RESUMED = re.compile(r"torch_dynamo_resume_in_(.+)_at_\d+$")

_Run = Callable[[Any], Any]


class _Patch:
    """Stands in for what calls generated code, while somebody wants to know.

    Inductor's `CompiledFxGraph.__call__` runs every generated graph, forward and backward, of modules and functions,
    from torch 2.6 to 2.13 at least; torch itself has no hook for it.
    """

    def __init__(self) -> None:
        self.watching: list[CompiledRegions] = []
        self._original: Any = None
        self._is_registered = False

    def add(self, regions: CompiledRegions) -> None:
        self.watching.append(regions)
        if _MODULE in sys.modules:
            self._put(sys.modules[_MODULE])
        elif not self._is_registered:
            # Importing it takes seconds. The hook stays, and does nothing while nobody watches.
            self._is_registered = True
            once_imported(_MODULE, self._put)

    def remove(self, regions: CompiledRegions) -> None:
        if regions in self.watching:
            self.watching.remove(regions)
        if not self.watching and self._original is not None:
            getattr(sys.modules[_MODULE], _CLASS).__call__ = self._original
            self._original = None

    def _put(self, module: ModuleType) -> None:
        graph = getattr(module, _CLASS, None)
        if not self.watching or self._original is not None or graph is None:
            return
        original = self._original = graph.__call__

        def called(graph: Any, inputs: Any) -> Any:
            run: _Run = partial(original, graph)
            for regions in self.watching:
                run = regions.around(graph, run)
            return run(inputs)

        graph.__call__ = called


_patch = _Patch()


class CompiledRegions:
    """Records the generated code that runs on this thread, and on autograd's.

    Args:
        drafts: Where records are put together.
        attribution: Tells where a region belongs.
        pause: Entered while a region runs: of its operations torch shows only some.
        is_on: Tells whether operations are being recorded.
    """

    def __init__(self, drafts: Drafts, attribution: Attribution, pause: Pause, is_on: Callable[[], bool]) -> None:
        self._drafts = drafts
        self._attribution = attribution
        self._pause = pause
        self._is_on = is_on
        self._thread = threading.get_ident()

    def start(self) -> None:
        """Watch generated code."""
        _patch.add(self)

    def stop(self) -> None:
        """Watch it no more."""
        _patch.remove(self)

    def around(self, graph: Any, run: _Run) -> _Run:
        """Return what runs a graph and records it."""

        def recorded(inputs: Any) -> Any:
            if self._pause.depth or not self._is_on():
                return run(inputs)
            if not works_for(self._thread):
                return self._unrecorded(run(inputs))
            draft = Draft(self._drafts)
            for index, tensor in enumerate(sorted(tensors_in(inputs), key=self._name_and_shape)):
                draft.input(tensor, "input", index)
            mutated = _mutated(graph, inputs)
            watched = Watched(inputs, {})
            with self._pause:
                outputs = run(inputs)  # which empties the list of inputs
            draft.drew(watched)
            self._read_after(draft, mutated, outputs)
            return outputs

        return recorded

    def _name_and_shape(self, tensor: torch.Tensor) -> tuple[str, str, tuple[int, ...]]:
        """Return what inputs are sorted by: their order is not the same each time the same code is compiled."""
        return self._drafts.storages.name(tensor), str(tensor.dtype), tuple(tensor.shape)

    def _read_after(self, draft: Draft, mutated: list[Any], outputs: Any) -> None:
        for tensor in mutated:
            draft.wrote(tensor, wholly=True)
        for tensor in tensors_in(outputs):
            draft.made(tensor)
        where = self._attribution.here()
        draft.finish(_name(where), where)

    def _unrecorded(self, outputs: Any) -> Any:
        spot = self._attribution.here().spot
        for tensor in tensors_in(outputs):
            if is_plain(tensor):
                self._drafts.storages.mark(tensor, THREAD, spot)
        return outputs


def _mutated(graph: Any, inputs: Any) -> list[Any]:
    """Return the inputs that a graph writes."""
    indexes = sorted(getattr(graph, "mutated_input_idxs", ()))
    return [tensor for index in indexes if index < len(inputs) for tensor in tensors_in(inputs[index])]


def _name(where: Where) -> str:
    """Return "compiled Transformer", or "compiled step" for a function."""
    function = "" if where.spot is None else where.spot.code.co_name
    resumed = _RESUMED.match(function)
    function = resumed[1] if resumed else function
    is_module = where.module.root and function in ("", "forward", "__call__")
    return f"compiled {where.module.own if is_module else function}".rstrip()
