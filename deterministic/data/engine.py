"""What works behind a `ReproducibleDataLoader`: a DataLoader of torch's over what carries keys, and its iterator."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..errors import DeterministicError, ResumeMismatchError, value_error
from ..trace.recording.seeding import ACTIVE
from .orders.base import Epochs, Feed, Order, Progress
from .samples.dataset_epoch import DatasetEpoch
from .samples.isolation import Isolated
from .samples.keys import Keying, epoch_key
from .samples.torch_internals import (
    disown_in_forked_children,
    end_workers_gently,
    retired,
    share_asked_length,
    unwrapped,
)
from .samples.worker import capture_settings, prepare_worker

_logger = logging.getLogger(__name__)


class Engine:
    """One torch DataLoader over what carries the keys, with the loader's arguments; no reference to it is kept."""

    def __init__(
        self, loader: DataLoader[Any], keying: Keying, feed: Feed, *, epoch: int, workers: int, kind: Any = None
    ) -> None:
        self.feed = feed  # what it works on
        # What workers that outlive an iterator were started with: settings, their number, `collate_fn`.
        self.kind = kind
        arguments = dict(feed.arguments)
        if workers:
            settings = None if _forks(loader) else capture_settings()
            arguments |= {
                "prefetch_factor": loader.prefetch_factor,
                "persistent_workers": kind is not None,
                "multiprocessing_context": loader.multiprocessing_context,
                "worker_init_fn": partial(prepare_worker, keying.worker_threads, settings, loader.worker_init_fn),
            }
        if loader.pin_memory_device:
            arguments["pin_memory_device"] = loader.pin_memory_device
        self.torch: DataLoader[Any] = DataLoader(
            feed.dataset,
            num_workers=workers,
            collate_fn=feed.collate_fn,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout if workers else 0,
            generator=_base_generator(epoch_key(keying.seed, epoch, "workers")),
            **arguments,
        )
        if not loader.persistent_workers:  # whose last batches, which are none, would count
            share_asked_length(loader, self.torch)

    def __iter__(self) -> Iterator[Any]:
        iterator = iter(self.torch)
        disown_in_forked_children(iterator)
        end_workers_gently(iterator)
        return iterator


class Engines:
    """The engine whose workers outlive an epoch, if any, and the making of the others."""

    def __init__(self) -> None:
        self._kept: Engine | None = None
        self._latest: Progress | None = None

    @property
    def iterator(self) -> Any:
        """The iterator of torch's over the workers that outlive an epoch; None where there are none."""
        return None if self._kept is None else self._kept.torch._iterator

    def begin(self, loader: DataLoader[Any], order: Order, progress: Progress) -> Iterator[Any]:
        """Return torch's iterator over an epoch from where `progress` starts.

        With persistent workers, that of the epoch before ends. Their workers have the settings of the process as they
        were when they started. When those have changed since, new workers are started, so that a sample does not depend
        on when they were; so they are where a stream is put elsewhere.
        """
        keying, epoch, workers = order.keying, progress.start.epoch, loader.num_workers
        DatasetEpoch(loader.dataset, keying).tell(epoch)
        order.begin(progress)
        if not (loader.persistent_workers and workers):
            feed, is_new = order.feed(loader, is_lasting=False), True
            engine = Engine(loader, keying, feed, epoch=epoch, workers=workers)
        else:
            kind = capture_settings(), workers, unwrapped(loader.collate_fn)
            is_put = progress.start.state is not None and not order.has_indices
            is_new = is_put or self._kept is None or self._kept.kind != kind
            if self._kept is None or is_new:
                feed = order.feed(loader, is_lasting=True)
                self._kept = Engine(loader, keying, feed, epoch=epoch, workers=workers, kind=kind)
            elif self._latest is not None and self._latest is not progress:
                self._latest.superseded = True
            engine, self._latest = self._kept, progress
        engine.feed.begin(progress, is_new)
        return iter(engine)

    def peek(self, loader: DataLoader[Any], order: Order, progress: Progress) -> Iterator[Any]:
        """Return torch's iterator over the first batch alone (of a stream: and more), from workers of its own."""
        feed, workers = order.peek(loader, progress)
        return iter(Engine(loader, order.keying, feed, epoch=progress.start.epoch, workers=workers))


class LoaderIterator:
    """What `iter(loader)` returns: torch's iterator, with the caller's generators left alone and the batches counted.

    It is made by the loader, a `ReproducibleDataLoader`; `begin` returns torch's iterator from where a progress starts.
    """

    def __init__(self, loader: Any, begin: Callable[[Progress], Iterator[Any]], progress: Progress) -> None:
        self._begin, self._progress = begin, progress
        self._heed: Callable[[], None] = loader._heed  # before the first batch: it may move the start
        self._order: Order = loader._order
        self._epochs: Epochs = loader._epochs
        self._threads: int | None = None if loader.num_workers else loader.keying.worker_threads  # None: workers fetch
        told: DatasetEpoch = loader._dataset_epoch
        self._settle = told.settle if not loader.num_workers and told.listeners else None
        self._before = 0
        self._begun_at = progress.start
        self._inner = begin(progress)
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
                "this iterator's workers serve a later one now",
                ("found: persistent_workers=True, and iter() was called again",),
                "Use one iterator at a time, or persistent_workers=False.",
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
            is_stream_here = self._threads is not None and not self._order.has_indices
            if is_stream_here or self._consumed() != self._before:
                progress.lost += 1
            raise
        finally:
            if self._settle is not None:
                self._settle()
        progress.give()
        for recorder in ACTIVE:
            recorder.batch(progress.start.epoch, progress.start.done, progress.count.batches - 1, batch)
        return batch

    def _fetch(self) -> Any:
        if self._progress.skip:
            self._load_again()
        while True:
            self._before = self._consumed()
            is_batch, batch = self._order.received(self._progress, next(self._inner))
            if is_batch:
                return batch

    def _load_again(self) -> None:
        """Leave out what was seen before, if it is what it was."""
        progress = self._progress
        while progress.skip:
            try:
                progress.skip -= self._order.received(progress, next(self._inner))[0]
            except StopIteration:
                progress.skip = 0
            except ResumeMismatchError:
                raise
            except Exception:
                # It raised when it was seen first, too, and was counted.
                _logger.debug("a batch that is loaded again raised", exc_info=True)
                progress.skip -= 1
        self._order.caught_up(progress)

    def _consumed(self) -> int:
        """Return how many batches are used up, whether they were yielded or raised."""
        return retired(self._inner) if self._threads is None else self._progress.taken

    def _follow(self) -> None:
        """Begin again where the epoch was pinned after `iter()`."""
        if self._progress.start is not self._begun_at:
            self._order.undo(self._progress)
            self._inner = iter(())  # its workers end before others start
            self._inner = self._begin(self._progress)
            self._begun_at = self._progress.start


def require_safe_threads(loader: DataLoader[Any], threads: int) -> None:
    """Refuse several threads in forked workers with a ValueError: OpenMP's pool survives no fork, they would hang."""
    if threads > 1 and loader.num_workers and _forks(loader):
        raise value_error(
            "forked workers would hang with several threads: OpenMP's pool does not survive a fork",
            (f"worker_threads: {threads}", f"num_workers: {loader.num_workers}, by fork"),
            'Pass multiprocessing_context="forkserver" or "spawn", or leave worker_threads at 1.',
        )


def _forks(loader: DataLoader[Any]) -> bool:
    """Return whether worker processes are copies of this one, which have its settings already."""
    context: Any = loader.multiprocessing_context or multiprocessing
    # Asking without allow_none would fix the default method for the process. The first of all is the default.
    method = context.get_start_method(allow_none=True) or context.get_all_start_methods()[0]
    return bool(method == "fork")


def _base_generator(seed: int) -> torch.Generator:
    """Return what torch draws the workers' base seed from, so that it does not draw from the caller's generator.

    On the default device, since torch draws there (pytorch/pytorch#44714).
    """
    # Not torch.get_default_device(): torch 2.6 raises there once set_default_device(None) was called.
    generator = torch.Generator(torch.empty(0).device)
    return generator.manual_seed(seed >> 1)
