"""Where the memory that operations read got its content from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .torch_internals import storage_key

if TYPE_CHECKING:
    from .places import Spot

OUTSIDE = "outside"
"""No traced operation wrote it, and none has read it before: it came from numpy, a file, another process."""

UNINITIALISED = "uninitialised"
"""It was allocated and not, or not wholly, written since."""

THREAD = "thread"
"""Another thread wrote it."""

COLLECTIVE = "collective"
"""A collective that was still under way wrote it."""

SEEN = ""

FEWEST = 1 << 12
"""Storages that are remembered before those that are gone are looked for."""


class Storages:
    """Remembers, of each storage, where its content came from. Thread-safe: other threads mark what they write.

    A storage is remembered by a weak reference, so it is freed when it would be, and its key is not used for another
    one while it is remembered here.
    """

    def __init__(self) -> None:
        self._known: dict[Any, tuple[StorageWeakRef, str, Spot | None]] = {}
        self._names: dict[Any, str] = {}
        self._most = FEWEST

    def __len__(self) -> int:
        """Return how many storages are remembered."""
        return len(self._known)

    def origin(self, tensor: torch.Tensor) -> tuple[str, Spot | None]:
        """Return the origin of what is read now, and the place that goes with it; it counts as seen from now on.

        Uninitialised memory stays what it is, whoever reads it.
        """
        key = storage_key(tensor)
        known = self._known.get(key)
        if known is None:
            if key is None:
                return SEEN, None
            self.mark(tensor, SEEN)
            return OUTSIDE, None
        _, origin, spot = known
        if origin in (THREAD, COLLECTIVE):
            self.mark(tensor, SEEN)
        return origin, spot

    def mark(self, tensor: torch.Tensor, origin: str, spot: Spot | None = None) -> None:
        """Note where the content of a tensor's storage came from."""
        key = storage_key(tensor)
        known = self._known.get(key)
        if known is not None:
            if known[1:] != (origin, spot):
                self._known[key] = known[0], origin, spot
        elif key is not None:
            if len(self._known) >= self._most:
                self._forget_freed()
            self._known[key] = StorageWeakRef(tensor.untyped_storage()), origin, spot

    def made(self, tensor: torch.Tensor) -> None:
        """Note that an operation returned a tensor of its own making, or one that it wrote."""
        known = self._known.get(storage_key(tensor))
        if known is None or known[1]:
            self.mark(tensor, SEEN)

    def overwrote(self, tensor: torch.Tensor) -> None:
        """Note that an operation wrote all of a tensor; the rest of uninitialised memory stays what it is."""
        if not self.is_uninitialised(tensor) or _is_whole(tensor):
            self.made(tensor)

    def is_uninitialised(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor is, or is a part of, memory that was not wholly written since it was allocated."""
        known = self._known.get(storage_key(tensor))
        return known is not None and known[1] == UNINITIALISED

    def call(self, tensor: torch.Tensor, name: str) -> None:
        """Let memory that a tensor has for itself be called `name` in records."""
        key = storage_key(tensor)
        if key is not None and _is_whole(tensor):
            self.mark(tensor, SEEN)
            self._names[key] = name

    def name(self, tensor: torch.Tensor) -> str:
        """Return what a tensor's memory is called; empty if it has no name."""
        return self._names.get(storage_key(tensor), "") if self._names else ""

    def clear(self) -> None:
        """Remember nothing."""
        self._known.clear()
        self._names.clear()

    def _forget_freed(self) -> None:
        """Let go of storages that are gone: now and then, so that its time is spread over many operations."""
        for key, (reference, *_) in list(self._known.items()):
            if reference.expired():
                self._known.pop(key, None)
                self._names.pop(key, None)
        self._most = max(FEWEST, 2 * len(self._known))


def _is_whole(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is all that there is in its storage."""
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
