"""The hooks that every module calls, in compiled code too, where they must do nothing and not break the graph."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch.nn.modules import module as torch_modules
from torch.utils.hooks import RemovableHandle


class Told(Protocol):
    """What is told of modules that are called."""

    def enter(self, module: torch.nn.Module, arguments: Any) -> None:
        """A module is called."""

    def leave(self, module: torch.nn.Module, result: Any) -> None:
        """A module has returned, or raised: then the result is None."""


_told: list[Told] = []


def before(module: torch.nn.Module, arguments: Any) -> None:
    """Be a global forward pre-hook."""
    if not torch.compiler.is_compiling():
        for one in _told:
            one.enter(module, arguments)


def after(module: torch.nn.Module, arguments: Any, result: Any) -> None:
    """Be a global forward hook that is always called."""
    if not torch.compiler.is_compiling():
        for one in _told:
            one.leave(module, result)


for _hook in (before, after):
    # Dynamo goes by the file, and is told to skip those of this package (`scope.reproducible`): called, what it skips
    # would break the graph at each module. These two it shall trace.
    _hook.__code__ = _hook.__code__.replace(co_filename=f"<{__name__}>")

_HANDLE = RemovableHandle(OrderedDict())
"""Of an id of our own. Compiled code is compiled again when the ids of hooks change, and not at all after some times:
so each recording has the same."""


_quiet: list[Any] = []
"""The filter of warnings that is in place with the hooks."""


def add(told: Told) -> None:
    """Tell somebody of each module that is called, from now on."""
    _told.append(told)
    if not _quiet:
        # In each call of a compiled module torch warns that hooks are called for it, too. These are made for it.
        known = [*warnings.filters]
        warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks", UserWarning)
        _quiet.extend(one for one in warnings.filters[:1] if one not in known)
    torch_modules._global_forward_pre_hooks[_HANDLE.id] = before
    torch_modules._global_forward_hooks[_HANDLE.id] = after
    torch_modules._global_forward_hooks_always_called[_HANDLE.id] = True


def remove(told: Told) -> None:
    """Tell it no more; the hooks go with the last one."""
    if told in _told:
        _told.remove(told)
    if not _told:
        while _quiet:
            with suppress(ValueError):  # whoever came since has other filters
                warnings.filters.remove(_quiet.pop())  # type: ignore[attr-defined]
        for hooks in (
            torch_modules._global_forward_pre_hooks,
            torch_modules._global_forward_hooks,
            torch_modules._global_forward_hooks_always_called,
        ):
            hooks.pop(_HANDLE.id, None)
