"""Where a loader is: an epoch, how much of it is behind, and how far an iterator has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import cut, explain
from ...ground.arguments import as_integer
from ..samples.fetch import Fetch


@dataclass(frozen=True, eq=False)
class Position:
    """A place in the data. Two of them are one only if they are the same object: `Epochs` relies on it.

    Attributes:
        epoch: Which epoch, 0 or more.
        done: How much of it is behind: samples of all ranks together for an own order, else batches.
        state: The state that it was loaded from, for the order to go on from; None: it was never saved.
    """

    epoch: int = 0
    done: int = 0
    state: Mapping[str, Any] | None = None


class Count:
    """The little that the report keeps of an epoch, however long it keeps it.

    Attributes:
        epoch: Which epoch.
        resumed: Whether some of it was behind at the start.
        batches: How many batches were yielded.
        ended: Whether it came to its end.
    """

    __slots__ = ("batches", "ended", "epoch", "resumed")

    def __init__(self, start: Position) -> None:
        self.batches = 0
        self.ended = False
        self.begin(start)

    def begin(self, start: Position) -> None:
        """Note where it starts."""
        self.epoch = start.epoch
        self.resumed = start.done > 0


class Progress:
    """How far one iterator has come, counted in batches yielded, whatever was fetched ahead.

    Attributes:
        count: What the report keeps of it.
        asked: Whether it was asked for a batch.
        taken: How many fetches its order has given, to workers ahead of what is yielded.
        lost: How many batches raised instead of being yielded, since the last that was yielded.
        superseded: Whether a later iterator has taken over its workers.
        memory: What the order keeps with it, for the state.
        iterator: The iterator, as long as somebody holds it.
    """

    __slots__ = ("_start", "_yielded", "asked", "count", "iterator", "lost", "memory", "superseded", "taken")

    def __init__(self, start: Position) -> None:
        self._start = start
        self.count = Count(start)
        self._yielded = 0
        self.taken = 0
        self.lost = 0
        self.asked = False
        self.superseded = False
        self.memory: Any = None
        self.iterator: Callable[[], object] = _nobody

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """A copy has no iterator."""
        return None, {**{name: getattr(self, name) for name in self.__slots__}, "iterator": _nobody}

    @property
    def start(self) -> Position:
        """Where it starts."""
        return self._start

    @start.setter
    def start(self, position: Position) -> None:
        self._start = position
        self.count.begin(position)

    @property
    def yielded(self) -> int:
        """How many batches are behind: yielded, or raised and followed by one that was yielded."""
        return self._yielded

    @property
    def ended(self) -> bool:
        """Whether it has said that there are no more."""
        return self.count.ended

    def give(self) -> None:
        """Note a batch that is yielded now. Those that raised before it are behind too: nobody will see them again."""
        self._yielded += 1 + self.lost
        self.lost = 0
        self.count.batches += 1

    @property
    def is_dropped(self) -> bool:
        """Whether nobody holds the iterator any more."""
        return self.iterator() is None

    @property
    def is_waiting(self) -> bool:
        """Whether an iterator was made, and is held by somebody, and has not been asked for a batch."""
        return not self.asked and not self.is_dropped


def _nobody() -> None:
    return None


class Epochs:
    """Which epoch is next, and the iterator that is under way.

    Attributes:
        next: Where the next iterator starts.
        under_way: The latest iterator's progress; None before the first, and after a load.
        watchers: Called before a batch is fetched, or the end is said.
    """

    def __init__(self) -> None:
        self.next = Position()
        self.under_way: Progress | None = None
        self.watchers: list[Callable[[], None]] = []

    def __getstate__(self) -> dict[str, Any]:
        """A copy is watched by nobody."""
        return {**self.__dict__, "watchers": []}

    @contextmanager
    def begin(self) -> Iterator[Progress]:
        """Start an iterator where the next one is due, unless the block raises; the one after it is an epoch later."""
        progress = Progress(self.next)
        yield progress
        self.next = Position(self.next.epoch + 1)
        self.under_way = progress

    def ask(self, progress: Progress) -> None:
        """Note that an iterator is asked for its first batch: an epoch that was pinned for it is used up."""
        progress.asked = True
        if self.next is progress.start:
            self.next = Position(progress.start.epoch + 1)

    def pin(self, epoch: object) -> None:
        """Let the next iterator start at `epoch`: at its beginning, unless a state was loaded from within it.

        An iterator that waits for its first batch starts there too: some frameworks call `iter()` before `set_epoch`.

        Raises:
            TypeError: Not an integer.
            ValueError: Negative.
        """
        number = as_integer(epoch)
        if number is None:
            raise TypeError(
                explain(
                    "epoch is not an integer",
                    (f"found: {cut(epoch)} ({type(epoch).__name__})", "expected: 0, 1, 2, ..."),
                    "Pass the number of the epoch, for example set_epoch(0).",
                )
            )
        if number < 0:
            raise ValueError(
                explain("epoch is negative", (f"found: {cut(number)}", "expected: 0, 1, 2, ..."), "Count from 0.")
            )
        latest = self.under_way
        if latest is not None and latest.is_waiting:
            if number != latest.start.epoch:
                latest.start = Position(number)
            self.next = latest.start
            return
        if number != self.next.epoch:
            self.next = Position(number)
        if latest is not None and (latest.is_dropped or number != latest.start.epoch):
            self.under_way = None  # the rest of an epoch that was left is given up

    def load(self, position: Position) -> None:
        """Let the next iterator start at a saved position; the one under way counts no longer."""
        self.next = position
        self.under_way = None

    def leave(self) -> None:
        """Give up the rest of an epoch that was left by a `break`, as the next iterator would."""
        if self.unfinished is not None and self.unfinished.is_dropped:
            self.under_way = None

    @property
    def is_within(self) -> bool:
        """Whether somebody holds an iterator that has given a batch and may give another."""
        return self.unfinished is not None and self.unfinished.asked and not self.unfinished.is_dropped

    @property
    def unfinished(self) -> Progress | None:
        """The progress of the epoch that was begun and not ended; None between two epochs."""
        return None if self.under_way is None or self.under_way.ended else self.under_way


class Order(Protocol):
    """Which batches an epoch has, and in which order: the part in which loaders differ."""

    @property
    def name(self) -> str:
        """What the state and the report call it."""

    @property
    def fields(self) -> Mapping[str, type]:
        """What its states have beside the common part, and of which type."""

    def identity(self) -> dict[str, Any]:
        """Return the part of the state in which the saved data and these must agree."""

    def require_fit(self, position: Position) -> None:
        """Refuse to start at a position that does not fit what is known only now, the number of ranks.

        Raises:
            ResumeMismatchError: It does not fit.
        """

    def state(self, progress: Progress | None) -> dict[str, Any]:
        """Return what a resume of `progress` needs beside the identity; None: of an epoch not begun."""

    def position(self, state: Mapping[str, Any]) -> Position:
        """Return the position that a fitting state stands for.

        Raises:
            ResumeMismatchError: It does not fit after all.
        """


class IndexOrder(Order, Protocol):
    """The order of a dataset that is asked for indices."""

    def __len__(self) -> int:
        """Return the number of batches of an epoch on this rank."""

    def fetches(self, progress: Progress) -> Iterator[Fetch]:
        """Yield what to fetch from the start of `progress` on; nothing happens before the first `next`."""

    def look(self, position: Position, count: int) -> list[Fetch]:
        """Return the first fetches from `position` on, `count` of them or as many as there are, and move nothing."""
