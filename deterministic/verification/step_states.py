"""What a training has after each step of its optimizers, on one rank: fingerprints, a line of JSON for each step.

The first rank writes. Sharded parameters (DTensor) count as the whole tensors that all ranks gather together.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import torch
from torch import nn
from torch.optim import optimizer as torch_optimizer

from ..values.distance import elements_of
from ..values.fingerprint import fingerprint_if_any
from .processes import answer_in, leave_answer
from .step_lines import LINES, UNREAD

Buffer: TypeAlias = tuple[str, Callable[[], nn.Module | None], str]
"""What it is called, the module that has it, which is kept by nothing here, and its name there."""


class StepStates:
    """Watches every optimizer of the process, through torch's global hooks, while it is entered.

    All ranks gather, and the first writes. `keep` is the number of a line, and of a value in it: that one is left as an
    answer, and all ranks end there.
    """

    def __init__(self, folder: Path, rank: int, keep: tuple[int, int] | None) -> None:
        self._folder, self._rank, self._keep = folder, rank, keep
        self._known: weakref.WeakKeyDictionary[torch.optim.Optimizer, _Known] = weakref.WeakKeyDictionary()
        self._numbers, self._lines = itertools.count(), itertools.count()
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        self._file = open(os.devnull if self._rank else self._folder / LINES, "w", buffering=1, encoding="utf-8")
        self._handles = [
            torch_optimizer.register_optimizer_step_pre_hook(self._before),
            torch_optimizer.register_optimizer_step_post_hook(self._after),
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._file.close()

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer not in self._known:
            number = next(self._numbers)
            self._known[optimizer] = _Known(f"{type(optimizer).__name__}{f' (optimizer {number})' if number else ''}")
            self._write(optimizer)

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer in self._known:  # else this began within the step
            self._write(optimizer)

    @torch.no_grad()
    def _write(self, optimizer: torch.optim.Optimizer) -> None:
        known, number = self._known[optimizer], next(self._lines)
        line: dict[str, Any] = {"optimizer": known.title, "step": next(known.steps)}
        keep = self._keep[1] if self._keep is not None and self._keep[0] == number else None
        names, digests, kept = [], [], None
        for index, (name, value) in enumerate(known.values(optimizer, line["step"])):
            if hasattr(value, "full_tensor"):
                value = value.full_tensor()
            if self._rank == 0:
                names.append(name)
                digests.append(fingerprint_if_any(value) or UNREAD)
                if index == keep and isinstance(value, torch.Tensor):
                    kept = elements_of(value)
        if names != known.names:
            line["names"] = known.names = names
        self._file.write(f"{json.dumps({**line, 'digests': ''.join(digests)})}\n")
        if keep is not None:
            self._end(digests, kept)

    def _end(self, digests: list[str], kept: Any) -> NoReturn:
        """End the process, as soon as the first rank has what is to be kept: what would come is not asked for."""
        if self._rank == 0:
            leave_answer(self._folder, (digests, kept))
        while answer_in(self._folder) is None:
            time.sleep(0.01)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class _Known:
    """What is known of an optimizer: what it is called, the number of its next line from -1 on, and names."""

    def __init__(self, title: str) -> None:
        self.title, self.steps = title, itertools.count(-1)
        self.names: list[str] = []
        self._named: dict[int, str] = {}
        self._buffers: list[Buffer] = []
        self._size = -1

    def values(self, optimizer: torch.optim.Optimizer, step: int) -> Iterator[tuple[str, Any]]:
        """Yield the parameters, the optimizer's state of each, and after a step the buffers of their modules."""
        groups = [group["params"] for group in optimizer.param_groups]
        if self._size != sum(map(len, groups)):
            self._size = sum(map(len, groups))
            self._named, self._buffers = _owned(itertools.chain(*groups))
        parameters = [
            (self._named.get(id(parameter), f"parameter {index} of group {group}"), parameter)
            for group, members in enumerate(groups)
            for index, parameter in enumerate(members)
        ]
        yield from parameters
        for name, parameter in parameters:
            for key, value in optimizer.state.get(parameter, {}).items():
                yield f"{key} of {name}", value
        for name, module, key in self._buffers if step >= 0 else ():  # before, a forward has changed them already
            if (owner := module()) is not None:
                yield name, getattr(owner, key, None)


def _owned(parameters: Iterable[torch.Tensor]) -> tuple[dict[int, str], list[Buffer]]:
    """Return what parameters are called in the modules that are alive, by id, and those modules' buffers.

    They are called as in the outermost module, but for what only wraps it: its name must not depend on the ranks.
    """
    order = {id(parameter): place for place, parameter in enumerate(parameters)}
    alive = [one for one in gc.get_objects() if issubclass(type(one), nn.Module) and hasattr(one, "_modules")]
    inner = {id(child) for module in alive for child in module.children()}
    roots = {}
    for root in alive:
        own = [order[id(one)] for one in root.parameters() if id(one) in order] if id(root) not in inner else []
        if own:
            roots[min(own)] = root
    named: dict[int, str] = {}
    buffers: dict[int, Buffer] = {}
    for _, root in sorted(roots.items()):
        modules = dict(root.named_modules())
        paths = {"": ""}
        for prefix, module in modules.items():
            parent, _, step = prefix.rpartition(".")
            if prefix:
                is_wrapped = (step == "module" or step.startswith("_")) and len([*modules[parent].children()]) == 1
                paths[prefix] = paths[parent] if is_wrapped else f"{paths[parent]}{step}."
            kind = type(module).__name__
            for name, parameter in module.named_parameters(recurse=False):
                named.setdefault(id(parameter), f"{paths[prefix]}{name} of {kind}")
            for name, buffer in module.named_buffers(recurse=False):
                buffers.setdefault(id(buffer), (f"{paths[prefix]}{name} of {kind}", weakref.ref(module), name))
    return named, [*buffers.values()]
