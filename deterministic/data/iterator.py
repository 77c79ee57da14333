"""What `iter(loader)` returns: torch's iterator, with the caller's generators left alone and the batches counted."""

from __future__ import annotations

import contextlib
import weakref
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
        begin: Returns torch's iterator from where a progress starts, and how many batches to load and leave out first.
        progress: Where the batches are counted.
        threads: With how many threads to fetch in this process; None: worker processes fetch.
        at_first: Called before the first batch; it may move the start.
    """

    def __init__(
        self,
        begin: Callable[[Progress], tuple[Iterator[Any], int]],
        progress: Progress,
        *,
        threads: int | None,
        at_first: Callable[[Progress], None],
    ) -> None:
        self._begin = begin
        self._progress = progress
        self._threads = threads
        self._at_first = at_first
        self._begun_at = progress.start
        self._inner, self._skip = begin(progress)
        progress.iterator = weakref.ref(self)

    def __iter__(self) -> LoaderIterator:
        return self

    def __len__(self) -> int:
        return len(self._inner)  # type: ignore[arg-type]  # torch's iterators have the length of their sampler

    def __next__(self) -> Any:
        progress = self._progress
        if progress.superseded:
            raise DeterministicError(
                explain(
                    "this iterator's workers serve a later one now",
                    ("found: persistent_workers=True, and iter() was called again",),
                    "Use one iterator at a time, or persistent_workers=False.",
                )
            )
        if not progress.asked:
            self._at_first(progress)
            self._follow()
        try:
            with Isolated(self._threads) if self._threads is not None else contextlib.nullcontext():
                while self._skip:
                    next(self._inner)
                    self._skip -= 1
                batch = next(self._inner)
        except StopIteration:
            progress.ended = True
            raise
        if type(batch) is Shipped:
            progress.memory.take(batch)
            batch = batch.batch
        progress.yielded += 1
        return batch

    def _follow(self) -> None:
        """Begin again where the epoch was pinned after `iter()`."""
        if self._progress.start is not self._begun_at:
            self._begun_at = self._progress.start
            del self._inner  # and its workers, before others start
            self._inner, self._skip = self._begin(self._progress)


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
