"""The plain torch DataLoader that does the work behind a `ReproducibleDataLoader`, with keys in what it fetches."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from ..errors import ReplayWarning, explain, warn
from .orders.base import AnyOrder
from .orders.position import Progress
from .orders.stream import CollateStream, KeyedStream
from .orders.stream_order import StreamOrder
from .orders.upstream import BEGINNING, Place, Upstream
from .samples.dataset_epoch import DatasetEpoch
from .samples.fetch import Fetch, KeyedDataset
from .samples.keys import epoch_key
from .samples.torch_internals import disown_in_forked_children
from .samples.worker import PrepareWorker, capture_settings

if TYPE_CHECKING:
    from .keyed_loader import ReproducibleDataLoader


class Feed:
    """What torch takes for the sampler or batch sampler: the fetches of the epoch that is begun next."""

    def __init__(self) -> None:
        self.begin: Callable[[], Iterator[Fetch]] = lambda: iter(())
        self.length: Callable[[], int] = lambda: 0

    def __iter__(self) -> Iterator[Fetch]:
        # torch's multi-process iterator asks twice; what `begin` returns does nothing before its first `next`.
        return self.begin()

    def __len__(self) -> int:
        return self.length()


class Engine:
    """One torch DataLoader over what carries the keys.

    Args:
        loader: Whose dataset and arguments it takes; no reference to it is kept.
        base_seed: Of the workers, before the keys: what a `worker_init_fn` sees as `torch.initial_seed()`.
        is_lasting: Whether the workers outlive an iterator.
        upstream: The user's stream; None: the dataset has indices.

    Attributes:
        workers: How many worker processes it has.
        settings: The process's settings when they start; None where nobody asks.
        collate_fn: The user's.
    """

    def __init__(
        self,
        loader: ReproducibleDataLoader[Any],
        base_seed: int,
        *,
        workers: int,
        is_lasting: bool,
        settings: dict[str, bytes] | None,
        upstream: Upstream | None = None,
    ) -> None:
        self.settings = settings
        self.workers = workers
        self.collate_fn = loader.users_collate_fn
        # No way back to the loader: in a cycle it would be collected late and in no order, and its workers with it.
        self._feed = Feed()
        self._stream: KeyedStream | None = None
        keying = loader.keying
        if upstream is not None:
            source: dict[str, Any] = {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
            self._stream = KeyedStream(upstream, keying.randomness, loader.seed, is_persistent=is_lasting, **source)
            collate: Any = CollateStream(self.collate_fn, self._stream)
        else:
            collate = self.collate_fn
            source = {"batch_sampler": self._feed} if loader.is_batched else {"sampler": self._feed, "batch_size": None}
        if workers:
            source |= {
                "prefetch_factor": loader.prefetch_factor,
                "persistent_workers": is_lasting,
                "multiprocessing_context": loader.multiprocessing_context,
                "worker_init_fn": PrepareWorker(
                    keying.worker_threads, None if _forks(loader) else settings, loader.worker_init_fn
                ),
            }
        if loader.pin_memory_device:
            source["pin_memory_device"] = loader.pin_memory_device
        self._torch: DataLoader[Any] = DataLoader(
            KeyedDataset(loader.dataset, keying.randomness, loader.seed) if self._stream is None else self._stream,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout if workers else 0,
            generator=_base_generator(base_seed),
            **source,
        )

    def start(self, fetches: Callable[[], Iterator[Fetch]], length: Callable[[], int]) -> Iterator[Any]:
        """Return torch's iterator, of the length of an epoch, over what `fetches` gives; it asks for it twice."""
        self._feed.begin, self._feed.length = fetches, length
        return self._iterator()

    def start_stream(self, key: int, epoch: int, places: Mapping[int, Place], turn: int) -> Iterator[Any]:
        """Return torch's iterator over an epoch of the stream.

        Args:
            key: The epoch's.
            epoch: Its number.
            places: Where each worker goes on; one without a place begins where its stream is.
            turn: The worker whose turn it is.
        """
        if self._stream is not None:
            self._stream.begin_epoch(key, epoch, places, turn)
        return self._iterator()

    @property
    def iterator(self) -> Any:
        """The iterator of torch's loader, where it keeps one."""
        return self._torch._iterator

    def expect_length(self) -> None:
        """Let torch warn when the stream gives more than its length says, as a DataLoader does once that was asked."""
        len(self._torch)

    def _iterator(self) -> Iterator[Any]:
        inner = iter(self._torch)
        disown_in_forked_children(inner)
        return inner


class Begun(NamedTuple):
    """An epoch that is begun.

    Attributes:
        batches: torch's iterator.
        skip: How many of its batches were seen before and are to be left out.
    """

    batches: Iterator[Any]
    skip: int = 0


class Engines:
    """The engine whose workers outlive an epoch, if any, and the making of the others."""

    def __init__(self) -> None:
        self._kept: Engine | None = None
        self._latest: Progress | None = None

    @property
    def iterator(self) -> Any:
        """The iterator of torch's over the workers that outlive an epoch; None where there are none."""
        return None if self._kept is None else self._kept.iterator

    def begin(self, loader: ReproducibleDataLoader[Any], order: AnyOrder, progress: Progress) -> Begun:
        """Return torch's iterator over an epoch from where `progress` starts."""
        DatasetEpoch(loader.dataset, loader.seed).tell(progress.start.epoch)
        if isinstance(order, StreamOrder):
            return self._begin_stream(loader, order, progress, is_peek=False)
        engine, _ = self._lasting(loader, progress)
        return Begun(engine.start(lambda: order.fetches(progress), order.__len__))

    def peek(self, loader: ReproducibleDataLoader[Any], order: AnyOrder, progress: Progress) -> Begun:
        """Return torch's iterator over the first batch alone (of a stream: and more), from workers of its own."""
        if isinstance(order, StreamOrder):
            return self._begin_stream(loader, order, progress, is_peek=True)
        first = order.look(progress.start, 1)
        engine = self._passing(loader, progress, min(loader.num_workers, 1))
        return Begun(engine.start(lambda: iter(first), lambda: 1))

    def _begin_stream(
        self, loader: ReproducibleDataLoader[Any], order: StreamOrder, progress: Progress, *, is_peek: bool
    ) -> Begun:
        memory = order.begin(progress, is_peek=is_peek)
        if memory.skip:
            _announce_replay(loader, memory.skip)
        is_loaded, workers = progress.start.state is not None, loader.num_workers
        if is_peek:
            upstream = order.upstream if workers else order.upstream.copy()
            engine, is_new = self._passing(loader, progress, workers, upstream), workers > 0
        else:
            engine, is_new = self._lasting(loader, progress, order.upstream, renew=is_loaded)
        # A stream that has lived on is where it is; only a new or a loaded one has to be put there.
        places = dict(memory.places) if is_loaded or (is_new and workers) else {}
        if is_loaded and not workers:
            places = places or {0: BEGINNING}
        epoch = progress.start.epoch
        if loader.length_was_asked and not loader.persistent_workers:  # whose last batches, which are none, would count
            engine.expect_length()
        return Begun(engine.start_stream(order.key(epoch), epoch, places, memory.turn), memory.skip)

    def _lasting(
        self,
        loader: ReproducibleDataLoader[Any],
        progress: Progress,
        upstream: Upstream | None = None,
        *,
        renew: bool = False,
    ) -> tuple[Engine, bool]:
        """Return the engine for a whole epoch, and whether it is new.

        With persistent workers it is that of the epoch before, whose iterator ends. Its workers have the settings of
        the process as they were when they started. When those have changed since, new workers are started, so that a
        sample does not depend on when they were; so are they with `renew`.
        """
        workers = loader.num_workers
        if not (loader.persistent_workers and workers):
            return self._passing(loader, progress, workers, upstream), True
        settings = capture_settings()
        wanted = settings, workers, loader.users_collate_fn
        kept = self._kept
        is_new = renew or kept is None or (kept.settings, kept.workers, kept.collate_fn) != wanted
        if kept is None or is_new:
            kept = self._kept = Engine(
                loader,
                _base_seed(loader, progress),
                workers=workers,
                is_lasting=True,
                settings=settings,
                upstream=upstream,
            )
        elif self._latest is not None and self._latest is not progress:
            self._latest.superseded = True
        self._latest = progress
        return kept, is_new

    def _passing(
        self,
        loader: ReproducibleDataLoader[Any],
        progress: Progress,
        workers: int,
        upstream: Upstream | None = None,
    ) -> Engine:
        """Return an engine for one use, whose workers end with its iterator."""
        settings = capture_settings() if workers and not _forks(loader) else None
        base_seed = _base_seed(loader, progress)
        return Engine(loader, base_seed, workers=workers, is_lasting=False, settings=settings, upstream=upstream)


def require_safe_threads(loader: ReproducibleDataLoader[Any]) -> None:
    """Refuse several threads in forked workers: OpenMP's pool does not survive a fork, and they would hang.

    Raises:
        ValueError: The loader asks for it.
    """
    if loader.keying.worker_threads > 1 and loader.num_workers and _forks(loader):
        raise ValueError(
            explain(
                "forked workers would hang with several threads: OpenMP's pool does not survive a fork",
                (f"worker_threads: {loader.keying.worker_threads}", f"num_workers: {loader.num_workers}, by fork"),
                'Pass multiprocessing_context="forkserver" or "spawn", or leave worker_threads at 1.',
            )
        )


def _announce_replay(loader: ReproducibleDataLoader[Any], skip: int) -> None:
    warn(
        ReplayWarning,
        explain(
            "this dataset cannot say where it was, so what was seen before is loaded again, and left out",
            (f"found: {type(loader.dataset).__name__} without state_dict()", f"batches to load again: {skip}"),
            "Give the dataset state_dict() and load_state_dict() to resume at once.",
        ),
    )


def _base_seed(loader: ReproducibleDataLoader[Any], progress: Progress) -> int:
    return epoch_key(loader.seed, progress.start.epoch, "workers")


def _forks(loader: ReproducibleDataLoader[Any]) -> bool:
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
