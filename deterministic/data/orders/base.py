"""What every order has in common: where a loader is, how far an iterator has come, and the contract itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

from torch.utils.data import DataLoader

from ...errors import ResumeMismatchError
from ...ground.arguments import count
from ..samples.fetch import Fetch, KeyedDataset, keyed_collate
from ..samples.keys import Keying
from ..samples.torch_internals import unwrapped


@dataclass(frozen=True, eq=False)
class Position:
    """A place in the data. Two of them are one only if they are the same object: `Epochs` relies on it."""

    epoch: int = 0  # which epoch, 0 or more
    done: int = 0  # how much of it is behind: samples of all ranks together for an own order, else batches
    # The state that it was loaded from, for the order to go on from; None: it was never saved.
    state: Mapping[str, Any] | None = None


def mismatch(differs: str, saved: object, current: object, remedy: str) -> ResumeMismatchError:
    """Return the error of a state that does not fit, with both values."""
    return ResumeMismatchError(differs, (f"saved: {saved}", f"here: {current}"), remedy)


class Count:
    """The little that the report keeps of an epoch, however long it keeps it."""

    def __init__(self, start: Position) -> None:
        self.batches = 0  # that were yielded
        self.ended = False
        self.begin(start)

    def begin(self, start: Position) -> None:
        self.epoch = start.epoch
        self.resumed = start.done > 0


class Progress:
    """How far one iterator has come, counted in batches yielded, whatever was fetched ahead."""

    def __init__(self, start: Position) -> None:
        self.start = start
        self.count = Count(start)  # what the report keeps of it
        self.asked = False  # whether it was asked for a batch
        self.yielded = 0  # how many batches are behind: yielded, or raised and followed by one that was yielded
        self.taken = 0  # how many fetches its order has given, to workers ahead of what is yielded
        self.skip = 0  # how many batches were seen before the start, and are to be loaded again and left out
        self.lost = 0  # how many batches raised instead of being yielded, since the last that was yielded
        self.superseded = False  # whether a later iterator has taken over its workers
        self.memory: Any = None  # what the order keeps with it, for the state
        self.iterator: Callable[[], object] = nobody  # returns the iterator, as long as somebody holds it

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no iterator."""
        return {**self.__dict__, "iterator": nobody}

    @property
    def ended(self) -> bool:
        """Whether it has said that there are no more."""
        return self.count.ended

    @property
    def is_dropped(self) -> bool:
        """Whether nobody holds the iterator any more."""
        return self.iterator() is None

    def restart(self, start: Position) -> None:
        """Start elsewhere, before the first batch."""
        self.start = start
        self.count.begin(start)

    def give(self) -> None:
        """Note a batch that is yielded now. Those that raised before it are behind too: nobody will see them again."""
        self.yielded += 1 + self.lost
        self.lost = 0
        self.count.batches += 1


def nobody() -> None:
    """Return None, as a weak reference to what is gone does."""


class Epochs:
    """Which epoch is next, and the iterator that is under way."""

    def __init__(self) -> None:
        self.next = Position()  # where the next iterator starts
        self.under_way: Progress | None = None  # the latest iterator's; None before the first, and after a load
        self.watchers: list[Callable[[], None]] = []  # called before a batch is fetched, or the end is said
        self.is_pinned = False  # whether an epoch was ever set, or a state loaded

    def __getstate__(self) -> dict[str, Any]:
        """A copy is watched by nobody."""
        return {**self.__dict__, "watchers": []}

    def begin(self, progress: Progress) -> None:
        """Note an iterator that was started where the next one was due; the one after it is an epoch later."""
        self.next = Position(progress.start.epoch + 1)
        self.under_way = progress

    def ask(self, progress: Progress) -> None:
        """Note that an iterator is asked for its first batch: an epoch that was pinned for it is used up."""
        progress.asked = True
        if self.next is progress.start:
            self.next = Position(progress.start.epoch + 1)

    def pin(self, epoch: object) -> None:
        """Let the next iterator start at `epoch`: at its beginning, unless a state was loaded from within it.

        An iterator that waits for its first batch starts there too: some frameworks call `iter()` before `set_epoch`.
        """
        number = count("epoch", epoch)
        self.is_pinned = True
        latest = self.under_way
        if latest is not None and not latest.asked and not latest.is_dropped:
            if number != latest.start.epoch:
                latest.restart(Position(number))
            self.next = latest.start
            return
        if number != self.next.epoch:
            self.next = Position(number)
        if latest is not None and (latest.is_dropped or number != latest.start.epoch):
            self.under_way = None  # the rest of an epoch that was left is given up

    def load(self, position: Position) -> None:
        """Let the next iterator start at a saved position, and one that waits for its first batch, as `pin` does.

        The one under way counts no longer.
        """
        self.next = position
        if self.under_way is not None and not self.under_way.asked and not self.under_way.is_dropped:
            self.under_way.restart(position)
        else:
            self.under_way = None
        self.is_pinned = True

    @property
    def unfinished(self) -> Progress | None:
        """The progress of the epoch that was begun and not ended; None between two epochs."""
        return None if self.under_way is None or self.under_way.ended else self.under_way


class Feed(NamedTuple):
    """What one DataLoader of torch's works on: a dataset and a `collate_fn` that carry the keys, and what cuts batches.

    No way back to the loader: in a cycle it would be collected late and in no order, and its workers with it.
    """

    dataset: Any
    collate_fn: Callable[[Any], Any]
    # Lets the next iterator, the first or not, be over an epoch that its order has begun.
    begin: Callable[[Progress, bool], None]
    arguments: dict[str, Any]  # what else the DataLoader takes


class Order(ABC):
    """Which batches an epoch has, and in which order: the part in which loaders differ."""

    name: str  # what the state and the report call it
    fields: ClassVar[dict[str, type]]  # what its states have beside the common part, and of which type
    has_indices: ClassVar[bool] = True  # whether its dataset is asked for indices
    is_own: ClassVar[bool] = False  # whether it is a function of (seed, epoch): any place can be gone to at once

    def __init__(self, keying: Keying) -> None:
        self.keying = keying
        self.workers = 0  # the number of worker processes; the loader keeps it up to date

    @abstractmethod
    def with_indices(self) -> IndexOrder:
        """Return this order; raise TypeError if its dataset is not asked for indices."""

    @abstractmethod
    def feed(self, loader: DataLoader[Any], *, is_lasting: bool) -> Feed:
        """Return what a DataLoader with the loader's arguments works on, for one epoch or several (`is_lasting`)."""

    @abstractmethod
    def peek(self, loader: DataLoader[Any], progress: Progress) -> tuple[Feed, int]:
        """Return what gives the first batch from where `progress` starts, and with how many workers; move nothing."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the part of the state in which the saved data and these must agree."""

    @abstractmethod
    def state(self, progress: Progress | None) -> dict[str, Any]:
        """Return what a resume of `progress` needs beside the identity; None: of an epoch not begun."""

    @abstractmethod
    def position(self, state: Mapping[str, Any]) -> Position:
        """Return the position that a fitting state stands for; raise ResumeMismatchError if it does not after all."""

    # What most orders have nothing to do in:

    def notes(self) -> list[str]:
        """Return what the report says of it, one sentence each."""
        return []

    def users_epoch(self) -> int | None:
        """Return the epoch that the user has set on a sampler since a loader did; None if they have not."""
        return None

    def require_fit(self, position: Position) -> None:
        """Raise ResumeMismatchError at a position that does not fit what is known only now, the number of ranks."""
        return None

    def begin(self, progress: Progress) -> None:
        """Note that an epoch begins."""
        return None

    def received(self, progress: Progress, item: Any) -> tuple[bool, Any]:
        """Take what a DataLoader has given; return whether there is a batch in it, and the batch."""
        return True, item

    def caught_up(self, progress: Progress) -> None:
        """Raise ResumeMismatchError if what was to be left out is not what it was."""
        return None

    def leave(self, progress: Progress) -> None:
        """Go to where an epoch was left, as if nobody had fetched ahead."""
        return None

    def undo(self, progress: Progress) -> None:
        """Go back to before an epoch that was begun, and will begin as another one."""
        return None


class IndexOrder(Order):
    """The order of a dataset that is asked for indices."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches of an epoch on this rank."""

    @abstractmethod
    def fetches(self, progress: Progress) -> Iterator[Fetch]:
        """Yield what to fetch from the start of `progress` on; nothing happens before the first `next`."""

    @abstractmethod
    def look(self, position: Position, count: int) -> list[Fetch]:
        """Return the first fetches from `position` on, `count` of them or as many as there are, and move nothing."""

    @abstractmethod
    def fetch_with(self, epoch: int, index: Any, occurrence: int) -> tuple[Fetch, int]:
        """Return the batch of an epoch in which an index comes, on whichever rank, and its place there, or refuse."""

    def with_indices(self) -> IndexOrder:
        return self

    def feed(self, loader: DataLoader[Any], *, is_lasting: bool = False, looked_at: Sequence[Fetch] = ()) -> Feed:
        fetches = _Fetches(self, looked_at)
        is_batched = loader.batch_sampler is not None
        arguments = {"batch_sampler": fetches} if is_batched else {"sampler": fetches, "batch_size": None}
        collate = keyed_collate(unwrapped(loader.collate_fn), self.keying)
        return Feed(KeyedDataset(loader.dataset, self.keying), collate, fetches.begin, arguments)

    def peek(self, loader: DataLoader[Any], progress: Progress) -> tuple[Feed, int]:
        return self.feed(loader, looked_at=self.look(progress.start, 1)), min(loader.num_workers, 1)


class _Fetches:
    """What torch takes for the sampler or batch sampler: the fetches of the epoch that is begun next."""

    def __init__(self, order: IndexOrder, looked_at: Sequence[Fetch]) -> None:
        self._order = order
        self._next: Callable[[], Iterator[Fetch]] = lambda: iter(looked_at)

    def __iter__(self) -> Iterator[Fetch]:
        # torch's multi-process iterator asks twice; what this returns does nothing before its first `next`.
        return self._next()

    def __len__(self) -> int:
        return len(self._order)

    def begin(self, progress: Progress, is_new: bool) -> None:
        self._next = partial(self._order.fetches, progress)
