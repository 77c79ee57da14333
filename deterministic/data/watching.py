"""What a checkpoint needs of a loader beside its state."""

from __future__ import annotations

from collections.abc import Callable

from .keyed_loader import ReproducibleDataLoader


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
    def is_within_epoch(self) -> bool:
        """Whether it is in the middle of an epoch, with an iterator that somebody holds."""
        return self._epochs.is_within

    def leave_epoch(self) -> None:
        """Give up the rest of an epoch that was left by a `break`: the next `iter()` does not go on with it."""
        self._loader._give_up_what_was_left()
        self._epochs.leave()

    def close(self) -> None:
        """Announce no more."""
        if self._tell in self._epochs.watchers:
            self._epochs.watchers.remove(self._tell)
