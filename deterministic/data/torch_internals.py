"""Everything about torch's DataLoader that is used here and that its documentation does not promise.

`tests/data/test_torch_internals.py` fails, and names it, on a torch that has changed one of them.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any

from torch.utils.data import get_worker_info
from torch.utils.data._utils import fetch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

_FETCHERS = {fetch._MapDatasetFetcher.fetch.__code__, fetch._IterableDatasetFetcher.fetch.__code__}

_live: weakref.WeakSet[Any] = weakref.WeakSet()
"""Iterators of this process that own worker processes."""


def set_worker(**attributes: Any) -> None:
    """Set attributes of what `get_worker_info()` returns in this worker: `dataset`, `id`. It is meant to be frozen."""
    info = get_worker_info()
    for name, value in attributes.items():
        object.__setattr__(info, name, value)


def called_by_a_fetcher() -> bool:
    """Return whether the function that asks was called by a fetcher of torch's DataLoader."""
    return sys._getframe(2).f_code in _FETCHERS


def disown_in_forked_children(iterator: Any) -> None:
    """Let a child forked while `iterator` lives take its workers for somebody else's.

    A forked child inherits the object. Collected there, it would try to join workers that are not its children, and
    print "AssertionError: can only test a child process" (pytorch/pytorch#149837).
    """
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        if not _live and not _registered:
            _registered.append(True)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_disown)
        _live.add(iterator)


_registered: list[bool] = []


def _disown() -> None:
    for iterator in _live:
        iterator._shutdown = True
    _live.clear()
