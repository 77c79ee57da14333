"""The DataLoader behind `make_loader`: torch's, over a dataset and an order that carry keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from torch.utils.data import DataLoader, IterableDataset, default_collate

from ..errors import DeterministicError, users_line
from ..ground.arguments import count
from ..ground.ranks import ranks_are_said
from ..scope import stack
from .engine import Engines, LoaderIterator, require_safe_threads
from .made_again import check_batches, check_collating, check_samples, warn_if_made_again
from .orders import state
from .orders.base import Epochs, Order, Position, Progress
from .orders.own import OwnOrder, OwnSampler
from .orders.sampler import SamplerOrder
from .orders.stream import StreamOrder
from .orders.upstream import Upstream
from .samples.dataset_epoch import DatasetEpoch, users_epoch
from .samples.fetch import Fetch, KeyedDataset, keyed_collate, makes_batches
from .samples.isolation import Isolated
from .samples.keys import Keying, epoch_key
from .samples.seeded import sentences
from .samples.torch_internals import Collate, unwrapped

T = TypeVar("T")


class ReproducibleDataLoader(DataLoader[T]):
    """A DataLoader whose samples are a function of (seed, epoch, index, occurrence). Made by `make_loader`.

    `dataset`, `sampler` and `batch_sampler` are the user's, or torch's where the user gave none. Not thread-safe; one
    process iterates it.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: Any = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Any = None,
        *,
        keying: Keying,
        drop_last: bool = False,
        block_size: int | None = None,
        **arguments: Any,
    ) -> None:
        self.keying = keying
        self._epochs = Epochs()
        own: OwnOrder | None = None
        is_stream = isinstance(dataset, IterableDataset)
        if not is_stream and sampler is None and batch_sampler is None:
            cutting: dict[str, Any] = {"batch_size": batch_size, "drop_last": drop_last, "block_size": block_size}
            own = OwnOrder(dataset, keying, shuffle=shuffle, **cutting)
            sampler, shuffle = OwnSampler(own, self._epochs), None
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            unwrapped(collate_fn),
            drop_last=drop_last,
            **arguments,
        )
        self.is_stream = is_stream
        self.is_batched = self.batch_sampler is not None
        self._dataset_epoch = DatasetEpoch(dataset, keying)
        self.collate_fn = Collate(self.collate_fn)
        self._order: Order = self._order_of_others(drop_last) if own is None else own
        self._order.workers = num_workers
        require_safe_threads(self, keying.worker_threads)
        self._engines = Engines()
        facts = {"order": self._order.name, "num_workers": num_workers, "held": keying.rows}
        notes = [*self._notes_on_draws(), *self._order.notes(), *sentences(keying.rows)]
        self._record = state.LoaderRecord(users_line(), keying, notes, **facts)
        if ranks_are_said():
            self._settle_ranks()
        self._tell_the_report(made_here=True)

    def _order_of_others(self, drop_last: bool) -> Order:
        compared: dict[str, Any] = {"batch": self.batch_size, "drop_last": drop_last}
        if self.is_stream:
            uses_state, is_keyed = self.keying.stream_state != "ignore", self.keying.held == "key"
            upstream = Upstream(self.dataset, uses_state=uses_state, is_keyed=is_keyed)
            return StreamOrder(upstream, self.keying, is_persistent=self.persistent_workers, **compared)
        sampler: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        return SamplerOrder(sampler, self.keying, is_batched=sampler is self.batch_sampler, **compared)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engines": Engines()}

    @property
    def _iterator(self) -> Any:
        """The latest iterator, as torch keeps it with persistent workers; torch's own where nobody holds ours."""
        latest = self._epochs.under_way
        return self._engines.iterator and ((latest and latest.iterator()) or self._engines.iterator)

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._engines = Engines()  # as others reset a loader: its workers end with the last iterator

    @property
    def seed(self) -> int:
        """The loader's seed, 0 <= seed < 2**64."""
        return self.keying.seed

    @property
    def epoch(self) -> int:
        """The epoch that is under way, else the one that the next `iter()` starts."""
        self._heed()
        progress = self._epochs.unfinished
        return self._epochs.next.epoch if progress is None else progress.start.epoch

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch on this rank; costs no epoch."""
        return super().__len__() if self.is_stream else len(self._order.with_indices())

    def __iter__(self) -> Any:
        """Start the next epoch, or go on where a loaded state was within one; the epoch after it is next then."""
        self._settle_ranks()
        require_safe_threads(self, self.keying.worker_threads)
        self._heed()
        self._give_up_what_was_left()
        self._order.require_fit(self._epochs.next)
        _ = self.seed  # drawn, or refused, before anything starts
        progress = Progress(self._epochs.next)
        iterator = self._open(self._engines.begin, progress)
        self._epochs.begin(progress)
        self._record.begin(progress.count)
        self._tell_the_report()
        warn_if_made_again(self, self._record, progress.start.epoch, is_pinned=self._epochs.is_pinned)
        return iterator

    def set_epoch(self, epoch: int) -> None:
        """Pin the epoch that the next `iter()` starts.

        At its beginning; but a position loaded from within this epoch is kept, so the usual
        `for epoch in ...: loader.set_epoch(epoch)` does not undo a resume. An iterator that was made and not yet asked
        for a batch starts at it too. Setting the epoch of a sampler of the user's that has one
        (`DistributedSampler.set_epoch`), or of the dataset, does the same; a dataset that has a `set_epoch` is told the
        epoch, in every process, before it is asked for its samples.

        Args:
            epoch: 0 or more.

        Raises:
            TypeError: Not an integer.
            ValueError: Negative.
        """
        self._users_epoch()  # what was set before this counts no longer
        self._give_up_what_was_left()
        left = self._epochs.unfinished
        self._epochs.pin(epoch)
        if left is not None and left is not self._epochs.unfinished:
            self._order.leave(left)  # somebody still holds its iterator

    def peek(self) -> Any:
        """Return the batch that the next `iter()` would begin with, and cost no epoch.

        It is loaded for this alone, in a worker process if the loader has any. A copy of the sampler is asked for its
        indices. One that cannot be copied is put back as far as it shows where it is.

        Raises:
            DeterministicError: The epoch has no batches (left); the stream cannot be copied; or an epoch is under way
                of a sampler with a state, which may go on from where it is.
        """
        self._heed()
        with self._dataset_epoch.kept():
            for batch in self._look(self._epochs.next):
                return batch
        raise DeterministicError(
            "there is no batch to peek at",
            (f"found: epoch {self._epochs.next.epoch} has none left",),
            "Let the loader come to the next epoch, or call set_epoch().",
        )

    def replay(self, epoch: int, index: Any, occurrence: int = 0) -> Any:
        """Make one sample exactly as a training epoch saw it, alone, in this process. Moves nothing.

        Args:
            epoch: The epoch, 0 or more.
            index: What the dataset is asked for.
            occurrence: Which of its appearances in the epoch, for a sampler that gives an index again; 0 is the first.

        Returns:
            What the dataset returns, not collated.

        Raises:
            TypeError: The dataset has no indices.
            ValueError: The sample's draws depend on its batch, and the batch cannot be told: the index is not in that
                epoch, or its order is a sampler's.
        """
        order = self._order.with_indices()
        given = {"epoch": epoch, "occurrence": occurrence}
        epoch, occurrence = (count(name, value, what="is not a count") for name, value in given.items())
        key, again = epoch_key(self.seed, epoch, "samples"), [occurrence] if occurrence else None
        keyed, fetch, place = KeyedDataset(self.dataset, self.keying), Fetch([index], key, epoch, again), 0
        if self.is_batched and keyed.is_keyed_per_batch:
            fetch, place = order.fetch_with(epoch, index, occurrence)
        with keyed.epoch.kept():
            return self._make(keyed, fetch, place)

    def check(self, samples: int = 8) -> None:
        """Make a few samples twice, the second time in another order, and compare their bits. Moves no epoch.

        A `collate_fn` of the user's is then given copies of them, twice.

        It finds what keys cannot reach: random state inside of compiled code, generators that are made anew for each
        sample, time, counters; and with held="leave" those that the dataset holds. Of a stream, the epoch's first
        batches are made twice, in worker processes if the loader has any, else by copies of the stream: generators
        seeded from the time or the process are found.

        Args:
            samples: How many of the next epoch's first samples, 1 or more.

        Raises:
            NotReproducibleError: One differs: it names the index, or the batch, and the field.
            DeterministicError: A field is of a kind that cannot be compared, or the stream cannot be copied.
            ValueError: `samples` is no number of at least 1.
        """
        number = count("samples", samples, least=1, what="is not a number of samples")
        self._heed()
        next_one = self._epochs.next
        with self._dataset_epoch.kept():
            if self.is_stream:
                batches = -(-number // (self.batch_size or 1))
                check_batches(lambda: list(islice(self._look(Position(next_one.epoch)), batches)))
                return
            fetches = self._order.with_indices().look(next_one, number)
            places = [(fetch, place) for fetch in fetches for place in range(len(fetch.indices))]
            made = check_samples(places[:number], partial(self._make, KeyedDataset(self.dataset, self.keying)))
            users = unwrapped(self.collate_fn)
            if self.is_batched and users is not default_collate:
                check_collating(fetches, made, keyed_collate(users, self.keying), self.keying.worker_threads)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, counted in batches yielded: ints, strings and lists. Moves nothing.

        Within an epoch, or after a `break`, it is the place after the batch yielded last; call `set_epoch` before
        saving to leave the rest of an epoch out. With an own order it takes some 90 bytes.
        """
        self._heed()
        return state.save(self._order, self._epochs)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next `iter()` go on where `state_dict` was: the rest of its epoch, loading nothing again.

        Any number of workers fits, and for an own order any number of ranks that has the same global batch. A stream
        wants the same number of both. If anything does not fit, nothing is changed.

        Args:
            state_dict: What `state_dict` returned, in this process or another.

        Raises:
            ResumeMismatchError: From another seed, dataset length, batch size or sampler; both values are named.
        """
        self._heed()
        self._epochs.load(state.load(state_dict, self._order))

    def _make(self, keyed: KeyedDataset, fetch: Fetch, place: int) -> Any:
        """Make one sample as an epoch does, in this process; without batching it is what one index stands for."""
        with Isolated(self.keying.worker_threads):
            return keyed.one(fetch, place) if self.is_batched else keyed.first(fetch, 1)[0]

    def _look(self, start: Position) -> LoaderIterator:
        """Return an iterator whose first batches can be looked at, which costs no epoch."""
        scratch = Progress(start)
        scratch.asked = True  # so that it neither uses up its epoch nor follows the sampler to another
        self._order.require_fit(start)
        return self._open(self._engines.peek, scratch)

    def _open(self, begin: Callable[..., Iterator[Any]], progress: Progress) -> LoaderIterator:
        return LoaderIterator(self, partial(begin, self, self._order), progress)

    def _heed(self) -> None:
        """Take in what was set from outside: `num_workers`, which a stream depends on, and the user's epoch."""
        self._order.workers = self.num_workers
        epoch = self._users_epoch()
        if epoch is not None:
            self.set_epoch(epoch)

    def _users_epoch(self) -> int | None:
        """Return the epoch that the user has set on the sampler or the dataset since this was asked, None if none."""
        of_sampler = self._order.users_epoch()
        of_dataset = users_epoch(self._dataset_epoch.listeners)
        return of_dataset if of_sampler is None else of_sampler

    def _give_up_what_was_left(self) -> None:
        """Bring a sampler to where it would be if nobody had fetched ahead of an epoch that was left by a `break`."""
        left = self._epochs.unfinished
        if left is not None and left.is_dropped:
            self._order.leave(left)

    def _settle_ranks(self) -> None:
        """Let `batch_size` be that of each rank, now that the number of ranks may be known."""
        if self.keying.is_global and self._order.is_own:
            size = self.sampler.order.batch_size_of_a_rank()  # type: ignore[attr-defined]
            self.__dict__["batch_size"] = size  # torch refuses the plain assignment
            self.batch_sampler.batch_size = size  # type: ignore[union-attr]

    def _tell_the_report(self, *, made_here: bool = False) -> None:
        entry = stack.innermost()
        if entry is not None and entry.run is not None:
            entry.run.note_loader(self._record, made_here=made_here)

    def _notes_on_draws(self) -> list[str]:
        if self.is_stream:
            return ["Draws of an IterableDataset depend on num_workers and the number of ranks."]
        if self.keying.randomness == "batch":
            return ["Draws depend on which samples are in a batch: on batch_size and the number of ranks."]
        if makes_batches(self.dataset):
            return ["Draws in __getitems__ depend on which samples are in a batch."]
        return []


class WatchedLoader:
    """A loader; `tell` is called before each batch of an epoch is fetched, and before its end, but not for `peek`."""

    def __init__(self, loader: ReproducibleDataLoader[object], tell: Callable[[], None]) -> None:
        self._loader = loader
        self.record = loader._record
        self._epochs = loader._epochs
        self._tell = tell
        self._epochs.watchers.append(tell)

    @property
    def under_way(self) -> Progress | None:
        """The progress of the epoch in whose middle it is, with an iterator that somebody holds; None between two."""
        progress = self._epochs.unfinished
        return None if progress is None or not progress.asked or progress.is_dropped else progress

    @property
    def is_held(self) -> bool:
        """Whether somebody holds an iterator of it that has not come to its end."""
        return self._epochs.unfinished is not None and not self._epochs.unfinished.is_dropped

    def leave_epoch(self) -> None:
        """Give up the rest of an epoch that was left by a `break`: the next `iter()` does not go on with it."""
        self._loader._give_up_what_was_left()
        if self._epochs.unfinished is not None and self._epochs.unfinished.is_dropped:
            self._epochs.under_way = None

    def close(self) -> None:
        if self._tell in self._epochs.watchers:
            self._epochs.watchers.remove(self._tell)
