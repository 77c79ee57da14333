"""Which module is running: torch's global hooks keep a stack of them for each thread.

Every module calls these hooks, in compiled code too, where they must do nothing and not break the graph.
"""

from __future__ import annotations

import re
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.utils.hooks import RemovableHandle

from .torch_internals import (
    COMPILED,
    GENERATED_GRAPH,
    MODULE_CALL,
    MODULE_HOOKS,
    frame_of_module_call,
    is_only_described,
)


class ModuleName(NamedTuple):
    """What a module is called in a trace."""

    path: str = ""  # below the outermost module, "b.3.o"
    own: str = ""  # its class, "Linear"
    root: str = ""  # the class of the outermost one


OUTSIDE = ModuleName()


class _Call(NamedTuple):
    """A module that is running, and the frame of its call: by id, for a frame keeps all of its variables alive."""

    name: ModuleName
    module: int
    frame: int


class Modules:
    """The stack of the modules that are running, on each thread.

    `on_root` is called when a module that is in no other is: with it, its name, what it was called with, and whether
    it is the first time; `on_return` with a module's name and what it returned.
    """

    def __init__(
        self,
        on_root: Callable[[torch.nn.Module, ModuleName, Any, bool], None],
        on_return: Callable[[ModuleName, Any], None],
    ) -> None:
        self._on_root = on_root
        self._on_return = on_return
        self._names: weakref.WeakKeyDictionary[torch.nn.Module, ModuleName] = weakref.WeakKeyDictionary()
        self._roots: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
        self._stacks: dict[int, list[_Call]] = {}

    def start(self) -> None:
        _listening.append(self)
        # In each call of a compiled module torch warns that hooks are called for it, too. These are made for it.
        warnings.filters.insert(0, _QUIET)  # type: ignore[attr-defined]
        for hooks, hook in zip(MODULE_HOOKS, (_before, _after, True), strict=True):
            hooks[_HANDLE.id] = hook

    def stop(self) -> None:
        """Take the hooks away, if no other needs them."""
        if self in _listening:
            _listening.remove(self)
            with suppress(ValueError):  # whoever came since has other filters
                warnings.filters.remove(_QUIET)  # type: ignore[attr-defined]
        if not _listening:
            for hooks in MODULE_HOOKS:
                hooks.pop(_HANDLE.id, None)

    def current(self) -> ModuleName:
        """Return the innermost module that is running on this thread."""
        stack = self._stacks.get(threading.get_ident())
        return stack[-1].name if stack else OUTSIDE

    def name_of(self, module: torch.nn.Module) -> ModuleName:
        """Return what a module is called that was met, alone or as a part of another."""
        return self._names.get(module, OUTSIDE)

    def enter(self, module: torch.nn.Module, arguments: Any) -> None:
        """Note that a module is called; not what a compiler calls to see what it does, nor what it made of that."""
        if is_only_described() or isinstance(module, GENERATED_GRAPH):
            return
        stack = self._stacks.setdefault(threading.get_ident(), [])
        frame = frame_of_module_call()
        if stack:
            _drop_interrupted(stack, frame)
        name = self._names.get(module)
        if name is None:
            name = self._name(module, stack[-1].name if stack else None)
        if not stack:
            is_new = module not in self._roots
            self._roots.add(module)
            self._on_root(module, name, arguments, is_new)
        stack.append(_Call(name, id(module), id(frame)))

    def leave(self, module: torch.nn.Module, result: Any) -> None:
        """Note that a module has returned, or has raised an exception: then there is no result."""
        stack = self._stacks.get(threading.get_ident(), [])
        # A pre-hook that raises before ours leaves a module that never entered.
        if any(call.module == id(module) for call in stack):
            call = stack.pop()
            while call.module != id(module):
                call = stack.pop()
            if result is not None:
                self._on_return(call.name, result)
        if not stack:
            self._stacks.pop(threading.get_ident(), None)

    def _name(self, module: torch.nn.Module, above: ModuleName | None) -> ModuleName:
        """Name a module that is met for the first time, and all of its parts."""
        own = type(getattr(module, COMPILED, module)).__name__
        root = above.root if above else own
        prefix = [above.path] if above and above.path else []
        if above:
            prefix.append(own)  # it is no part of the one that calls it
        for path, part in module.named_modules():
            steps = [*prefix, *(step for step in path.split(".") if step not in ("", COMPILED))]
            inner = getattr(part, COMPILED, part)
            self._names.setdefault(part, ModuleName(".".join(steps), type(inner).__name__, root))
        return self._names[module]


def _drop_interrupted(stack: list[_Call], call: FrameType | None) -> None:
    """Take modules off the stack whose call is over: torch tells no hook of a KeyboardInterrupt."""
    above = set()
    frame = call.f_back if call is not None else None
    while frame is not None:
        if frame.f_code is MODULE_CALL:
            above.add(id(frame))
            if id(frame) == stack[-1].frame:
                return
        frame = frame.f_back
    while stack and stack[-1].frame not in above:
        stack.pop()


_listening: list[Modules] = []
_QUIET = "ignore", re.compile("Using `torch.compile.module.` when there are global hooks"), UserWarning, None, 0
_HANDLE = RemovableHandle(OrderedDict())
"""Of an id of our own. Compiled code is compiled again when the ids of hooks change, and not at all after some times:
so each recording has the same."""


def _before(module: torch.nn.Module, arguments: Any) -> None:
    if not torch.compiler.is_compiling():
        for modules in _listening:
            modules.enter(module, arguments)


def _after(module: torch.nn.Module, arguments: Any, result: Any) -> None:
    if not torch.compiler.is_compiling():
        for modules in _listening:
            modules.leave(module, result)


for _hook in (_before, _after):
    # Dynamo goes by the file, and is told to skip those of this package (`scope.compilation`): called, what it skips
    # would break the graph at each module. These two it shall trace.
    _hook.__code__ = _hook.__code__.replace(co_filename=f"<{__name__}>")
