"""What `iter(loader)` returns: torch's iterator, with the caller's generators left alone and the batches counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import DeterministicError, explain
from .isolation import Isolated
from .position import Progress
from .stream import Shipped
from .torch_internals import called_by_a_fetcher


class LoaderIterator:
    """The batches of one epoch.

    Args:
        inner: torch's iterator.
        progress: Where the batches are counted.
        threads: With how many threads to fetch in this process; None: worker processes fetch.
        skip: How many batches to load and leave out before the first.
    """

    def __init__(self, inner: Iterator[Any], progress: Progress, *, threads: int | None, skip: int = 0) -> None:
        self._inner = inner
        self._progress = progress
        self._threads = threads
        self._skip = skip
        self._superseded = False

    def __iter__(self) -> LoaderIterator:
        return self

    def __len__(self) -> int:
        return len(self._inner)  # type: ignore[arg-type]  # torch's iterators have the length of their sampler

    def __next__(self) -> Any:
        if self._superseded:
            raise DeterministicError(
                explain(
                    "this iterator's workers serve a later one now",
                    ("found: persistent_workers=True, and iter() was called again",),
                    "Use one iterator at a time, or persistent_workers=False.",
                )
            )
        try:
            with Isolated(self._threads) if self._threads is not None else contextlib.nullcontext():
                while self._skip:
                    next(self._inner)
                    self._skip -= 1
                batch = next(self._inner)
        except StopIteration:
            self._progress.ended = True
            raise
        if type(batch) is Shipped:
            self._progress.memory.take(batch)
            batch = batch.batch
        self._progress.yielded += 1
        return batch

    def supersede(self) -> None:
        """Say that torch's iterator was taken over by a later one."""
        self._superseded = True


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
                explain(
                    "a loader of make_loader was built again by other code, without its keys",
                    ("found: its collate_fn in a DataLoader that is not the one make_loader returned",),
                    "Leave the loader out of accelerator.prepare() and the like: it shares the data between the "
                    "ranks itself. Move its batches to the device by hand.",
                )
            )
        return self.__wrapped__(samples)
