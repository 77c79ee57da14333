"""What a checkpoint needs of a loader beside its state."""

from __future__ import annotations

from collections.abc import Callable

from .keyed_loader import ReproducibleDataLoader
from .orders.position import Progress


class WatchedLoader:
    """A loader whose batches are announced.

    Args:
        loader: Made by `make_loader`.
        tell: Called before each batch of an epoch is fetched, and before its end is said; not for `peek`.
    """

    def __init__(self, loader: ReproducibleDataLoader[object], tell: Callable[[], None]) -> None:
        self._loader = loader
        self._epochs = loader._epochs
        self._tell = tell
        self._epochs.watchers.append(tell)

    @property
    def under_way(self) -> Progress | None:
        """The progress of the epoch in whose middle it is, with an iterator that somebody holds; None between two."""
        return self._epochs.unfinished if self._epochs.is_within else None

    @property
    def is_held(self) -> bool:
        """Whether somebody holds an iterator of it that has not come to its end."""
        return self._epochs.unfinished is not None and not self._epochs.unfinished.is_dropped

    def leave_epoch(self) -> None:
        """Give up the rest of an epoch that was left by a `break`: the next `iter()` does not go on with it."""
        self._loader._give_up_what_was_left()
        self._epochs.leave()

    def close(self) -> None:
        """Announce no more."""
        if self._tell in self._epochs.watchers:
            self._epochs.watchers.remove(self._tell)
