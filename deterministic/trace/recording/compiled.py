"""Regions that torch.compile generated code for: one record for each time one runs.

Where torch cannot run them under a dispatch mode, none runs while operations are recorded.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import torch

from ...ground.imports import once_imported
from ..file.model import THREAD
from .attribution import Attribution, Where
from .operations import Watched, tensors_in
from .records import Draft, Records
from .torch_internals import DYNAMO, INDUCTORS_CODE, INDUCTORS_GRAPH, RUNS_COMPILED, works_for

_RESUMED = re.compile(r"torch_dynamo_resume_in_(.+)_at_\d+$")

_RunGraph: TypeAlias = Callable[[Any], Any]


class _Patch:
    """What holds for a module that may not be imported yet, which would take seconds, as long as somebody asks for it.

    Once it is imported `put` is called with it, and returns what takes back what it did.
    """

    def __init__(self, name: str, put: Callable[[ModuleType], Callable[[], object]]) -> None:
        self._name, self._put = name, put
        self._take_back: Callable[[], object] | None = None
        self._is_registered = False
        self.asking: list[Any] = []

    def add(self, one: Any) -> None:
        self.asking.append(one)
        if self._name in sys.modules or not self._is_registered:
            self._is_registered = True  # the hook stays, and does nothing while nobody asks
            once_imported(self._name, self._act)

    def remove(self, one: Any) -> None:
        if one in self.asking:
            self.asking.remove(one)
        if not self.asking and self._take_back is not None:
            self._take_back()
            self._take_back = None

    def _act(self, module: ModuleType) -> None:
        if self.asking and self._take_back is None:
            self._take_back = self._put(module)


def _watch_code(module: ModuleType) -> Callable[[], object]:
    """Stand in for what calls the code that inductor generated."""
    graph_class = getattr(module, INDUCTORS_GRAPH, None)
    if graph_class is None:
        return lambda: None
    original = graph_class.__call__

    def called(graph: Any, inputs: Any) -> Any:
        run: _RunGraph = partial(original, graph)
        for regions in _code.asking:
            run = regions.around(graph, run)
        return run(inputs)

    graph_class.__call__ = called
    return partial(setattr, graph_class, "__call__", original)


def _force_eager(dynamo: ModuleType) -> Callable[[], object]:
    return partial(torch.compiler.set_stance("force_eager").__exit__, None, None, None)


_code, _eager = _Patch(INDUCTORS_CODE, _watch_code), _Patch(DYNAMO, _force_eager)


class CompiledRegions:
    """Records the generated code that runs on this thread, and on autograd's."""

    def __init__(self, records: Records, attribution: Attribution) -> None:
        self._records = records
        self._attribution = attribution
        self._is_on = False
        self._thread = threading.get_ident()

    def start(self) -> None:
        _code.add(self)

    def stop(self) -> None:
        _code.remove(self)

    def turn(self, *, on: bool) -> None:
        """Record from now on, and run no compiled code on a torch that would not run it compiled; or do not."""
        if on != self._is_on and not RUNS_COMPILED:
            (_eager.add if on else _eager.remove)(self)
        self._is_on = on

    def around(self, graph: Any, run: _RunGraph) -> _RunGraph:
        """Return what runs a graph and records it."""

        def recorded(inputs: Any) -> Any:
            if self._records.pause.depth or not self._is_on:
                return run(inputs)
            if not works_for(self._thread):
                outputs = run(inputs)
                self._records.storages.mark_all(tensors_in(outputs), THREAD, self._attribution.here().spot)
                return outputs
            draft = Draft(self._records)
            # Their order is not the same each time the same code is compiled.
            called = self._records.storages.name
            inner = sorted(tensors_in(inputs), key=lambda one: (called(one), str(one.dtype), tuple(one.shape)))
            for index, tensor in enumerate(inner):
                draft.input(tensor, "input", index)
            written = sorted(getattr(graph, "mutated_input_idxs", ()))
            mutated = [*tensors_in([inputs[index] for index in written if index < len(inputs)])]
            watched = Watched(inputs, {})
            with self._records.pause:
                outputs = run(inputs)  # which empties the list of inputs
            draft.drew(watched)
            for tensor in mutated:
                draft.wrote(tensor, wholly=True)
            for tensor in tensors_in(outputs):
                draft.made(tensor)
            where = self._attribution.here()
            self._records.add_operation(draft, _name(where), where)
            return outputs

        return recorded


def _name(where: Where) -> str:
    """Return "compiled Transformer", or "compiled step" for a function."""
    function = "" if where.spot is None else where.spot.code.co_name
    resumed = _RESUMED.match(function)
    function = resumed[1] if resumed else function
    is_module = where.module.root and function in ("", "forward", "__call__")
    return f"compiled {where.module.own if is_module else function}".rstrip()
