"""Everything about torch's DataLoader that is used here and that its documentation does not promise.

`tests/data/test_torch_internals.py` fails, and names it, on a torch that has changed one of them.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data._utils import fetch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ...errors import DeterministicError

_FETCHERS = {fetch._MapDatasetFetcher.fetch.__code__, fetch._IterableDatasetFetcher.fetch.__code__}


def set_worker(**attributes: Any) -> None:
    """Set attributes of what `get_worker_info()` returns in this worker: `dataset`, `id`. It is meant to be frozen."""
    info = get_worker_info()
    for name, value in attributes.items():
        object.__setattr__(info, name, value)


def send_values() -> None:
    """Let this worker send what tensors say: torch sends their memory, which of a conjugate has the other sign.

    So do imaginary parts of one, which are "negative" (torch 2.13): samples would depend on whether there is a worker.
    """
    ForkingPickler.register(torch.Tensor, _with_its_sign)


def _with_its_sign(tensor: torch.Tensor) -> Any:
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.detach().resolve_conj().resolve_neg()
    return reduce_tensor(tensor)


def called_by_a_fetcher() -> bool:
    """Return whether the function that asks was called by a fetcher of torch's DataLoader."""
    return sys._getframe(2).f_code in _FETCHERS


class Collate:
    """The user's `collate_fn` as an attribute of the loader: it refuses to work for another loader's fetcher.

    Whoever builds a DataLoader of their own from the attributes of this one (Accelerate does) takes the dataset and
    `collate_fn`, and leaves the keys behind: the draws would silently be what they happen to be.
    """

    def __init__(self, users: Callable[[Any], Any]) -> None:
        self.__wrapped__ = users

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __call__(self, samples: Any) -> Any:
        if called_by_a_fetcher():
            raise DeterministicError(
                "a loader of make_loader was built again by other code, without its keys",
                ("found: its collate_fn in a DataLoader that is not the one make_loader returned",),
                "Leave the loader out of accelerator.prepare() and the like: it shares the data between the "
                "ranks itself. Move its batches to the device by hand.",
            )
        return self.__wrapped__(samples)


def unwrapped(collate_fn: Any) -> Any:
    """Return the user's `collate_fn` behind what a loader shows; anything else as it is."""
    return collate_fn.__wrapped__ if isinstance(collate_fn, Collate) else collate_fn


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


def end_workers_gently(iterator: Any) -> None:
    """Let an iterator ask its workers to end also where it is collected in a cycle, as an exception makes one.

    The collector would first end the threads of the queues by which they are asked (`Queue._finalize_close` in
    multiprocessing/queues.py): each would be waited for in vain, for five seconds, and killed (torch 2.13). Held from
    outside, the queues are no part of what is collected.
    """
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        weakref.finalize(iterator, len, iterator._index_queues).atexit = False


def retired(iterator: Any) -> int:
    """Return how many batches an iterator with workers has received in order, also those that were errors."""
    return int(iterator._rcvd_idx)


def share_asked_length(loader: DataLoader[Any], other: DataLoader[Any]) -> None:
    """Let torch warn when `other` gives more than a stream's length says, once the loader was asked for that."""
    other._IterableDataset_len_called = loader._IterableDataset_len_called
