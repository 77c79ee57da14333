"""Everything about torch's DataLoader that is used here and that its documentation does not promise.

`tests/data/test_torch_internals.py` fails, and names it, on a torch that has changed one of them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from torch.utils.data import get_worker_info
from torch.utils.data._utils import fetch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

_FETCHERS = {fetch._MapDatasetFetcher.fetch.__code__, fetch._IterableDatasetFetcher.fetch.__code__}


def set_worker(**attributes: Any) -> None:
    """Set attributes of what `get_worker_info()` returns in this worker: `dataset`, `id`. It is meant to be frozen."""
    info = get_worker_info()
    for name, value in attributes.items():
        object.__setattr__(info, name, value)


def called_by_a_fetcher() -> bool:
    """Return whether the function that asks was called by a fetcher of torch's DataLoader."""
    return sys._getframe(2).f_code in _FETCHERS


class _OfOneProcess(_MultiProcessingDataLoaderIter):
    """An iterator that leaves its workers alone when it is collected in another process than its own."""

    _process: int

    def __del__(self) -> None:
        if self._process == os.getpid():
            super().__del__()


def disown_in_forked_children(iterator: Any) -> None:
    """Let a child forked while `iterator` lives take its workers for somebody else's.

    A forked child inherits the object. Collected there, it would try to join workers that are not its children, and
    print "AssertionError: can only test a child process" (pytorch/pytorch#149837).
    """
    if type(iterator) is _MultiProcessingDataLoaderIter:
        iterator._process = os.getpid()  # type: ignore[attr-defined]
        iterator.__class__ = _OfOneProcess


def retired(iterator: Any) -> int:
    """Return how many batches an iterator with workers has received in order, also those that were errors."""
    return int(iterator._rcvd_idx)
