"""What `iter(loader)` returns: torch's iterator, with the caller's generators left alone and the batches counted."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import DeterministicError, ResumeMismatchError, explain
from ..trace.recording.seeding import ACTIVE
from .orders.position import Epochs, Progress
from .orders.sampler import SamplerMemory
from .orders.stream import Shipped
from .orders.stream_order import StreamMemory
from .samples.isolation import Isolated
from .samples.torch_internals import retired

_logger = logging.getLogger(__name__)


class LoaderIterator:
    """The batches of one epoch.

    Args:
        begin: Returns torch's iterator from where a progress starts, and how many batches to load and leave out first.
        progress: Where the batches are counted.
        threads: With how many threads to fetch in this process; None: worker processes fetch.
        heed: Called before the first batch: it may move the start.
        settle: Called after each batch that is fetched in this process.
        epochs: The loader's.
    """

    def __init__(
        self,
        begin: Callable[[Progress], tuple[Iterator[Any], int]],
        progress: Progress,
        *,
        threads: int | None,
        heed: Callable[[], None],
        settle: Callable[[], None] | None,
        epochs: Epochs,
    ) -> None:
        self._begin = begin
        self._progress = progress
        self._threads = threads
        self._heed = heed
        self._settle = settle
        self._epochs = epochs
        self._before = 0
        self._begun_at = progress.start
        self._inner, self._skip = begin(progress)
        progress.iterator = weakref.ref(self)

    def __iter__(self) -> LoaderIterator:
        return self

    def __getattr__(self, name: str) -> Any:
        """Return what torch's iterator has: its workers, and how to end them."""
        if name.startswith("__") or "_inner" not in self.__dict__:  # copying asks before there is anything
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._inner, name)

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
            self._heed()
            self._follow()
            self._epochs.ask(progress)
        if progress is self._epochs.under_way:
            for tell in self._epochs.watchers:
                tell()
        try:
            with Isolated(self._threads) if self._threads is not None else contextlib.nullcontext():
                batch = self._fetch()
        except StopIteration:
            progress.count.ended = True
            raise
        except BaseException:
            # A batch that raised is behind, once the caller goes on to another; a worker that is late loses nothing.
            if self._consumed() != self._before or self._is_stream_here():
                progress.lost += 1
            raise
        finally:
            if self._settle is not None:
                self._settle()
        progress.give()
        for recorder in ACTIVE:
            recorder.batch(progress.start.epoch, progress.start.done, progress.count.batches - 1, batch)
        if isinstance(progress.memory, SamplerMemory):
            progress.memory.forget(progress.yielded)
        return batch

    def _fetch(self) -> Any:
        if self._skip:
            self._load_again()
        memory = self._progress.memory
        while True:
            self._before = self._consumed()
            batch = next(self._inner)
            if type(batch) is not Shipped:
                if type(memory) is StreamMemory:
                    memory.see(batch)
                return batch
            memory.take(batch)
            if batch.samples:
                return batch.batch

    def _load_again(self) -> None:
        """Leave out what was seen before, if it is what it was."""
        memory: StreamMemory = self._progress.memory
        while self._skip:
            try:
                batch = next(self._inner)
                if type(batch) is not Shipped:
                    memory.see(batch)
            except StopIteration:
                break
            except ResumeMismatchError:
                raise
            except Exception:
                # It raised when it was seen first, too, and was counted.
                _logger.debug("a batch that is loaded again raised", exc_info=True)
            self._skip -= 1
        memory.require_same()

    def _consumed(self) -> int:
        """Return how many batches are used up, whether they were yielded or raised."""
        return retired(self._inner) if self._threads is None else self._progress.taken

    def _is_stream_here(self) -> bool:
        return self._threads is not None and isinstance(self._progress.memory, StreamMemory)

    def _follow(self) -> None:
        """Begin again where the epoch was pinned after `iter()`."""
        if self._progress.start is not self._begun_at:
            if isinstance(self._progress.memory, SamplerMemory):
                self._progress.memory.undo()
            self._inner = iter(())  # its workers end before others start
            self._inner, self._skip = self._begin(self._progress)
            self._begun_at = self._progress.start
