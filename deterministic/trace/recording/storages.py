"""Where the memory that operations read got its content from; and what other threads write meanwhile."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from ...values.bits import is_plain
from ..file.model import COLLECTIVE, EARLIER, OUTSIDE, SEEN, THREAD, UNINITIALISED
from .operations import Operation, tensors_in
from .places import Places, Spot
from .torch_internals import DispatchMode, schema_of, storage_key, without_overrides

FEWEST = 1 << 12  # storages that are remembered before those that are gone are looked for


class _Storage(NamedTuple):
    reference: StorageWeakRef
    origin: str
    spot: Spot | None
    name: str


class Storages:
    """Remembers, of each storage, where its content came from. Thread-safe: other threads mark what they write.

    A storage is remembered by a weak reference, so it is freed when it would be, and its key is not used for another
    one while it is remembered here. `record` tells the number of the record that is being put together.
    """

    def __init__(self, record: Callable[[], int] = lambda: 0) -> None:
        self._known: dict[Any, _Storage] = {}
        self._most = FEWEST
        self._record = record
        self._unread: dict[Any, list[int]] = {}
        self._overwritten: list[int] = []

    def __len__(self) -> int:
        return len(self._known)

    def is_seen(self, tensor: torch.Tensor) -> bool:
        """Note that a tensor is read, and return whether all that is in its memory was recorded before."""
        key = storage_key(tensor)
        self._unread.pop(key, None)
        known = self._known.get(key)
        return known is not None and not known.origin

    def read(self, tensor: torch.Tensor) -> tuple[str, Spot | None, str]:
        """Note that a tensor is read: it counts as seen from now on, but for uninitialised memory.

        Return the origin of what is in it, the place that goes with that, and what it is called.
        """
        key = storage_key(tensor)
        self._unread.pop(key, None)
        known = self._known.get(key)
        if known is None:
            if key is None:
                return SEEN, None, ""
            self.mark(tensor, SEEN, key=key)
            return OUTSIDE, None, ""
        if known.origin in (THREAD, EARLIER) or (known.origin == COLLECTIVE and _is_whole(tensor)):
            self.mark(tensor, SEEN, key=key)
        return known[1:]

    def is_there(self, tensor: torch.Tensor) -> bool:
        """Return whether what is in a tensor's memory may be read: it was written, and not by what is under way."""
        known = self._known.get(storage_key(tensor))
        return known is None or known.origin not in (UNINITIALISED, COLLECTIVE)

    def name(self, tensor: torch.Tensor) -> str:
        """Return what a tensor's memory is called; empty if it has no name."""
        known = self._known.get(storage_key(tensor))
        return "" if known is None else known.name

    def made(self, tensor: torch.Tensor, key: Any = None) -> str:
        """Note that an operation returned a tensor of its own making, and return what it is called."""
        # The key is asked for once an operation and tensor: making torch's object of a storage is most of the time.
        key = storage_key(tensor) if key is None else key
        self._unread.setdefault(key, []).append(self._record())
        known = self._known.get(key)
        if known is None or known.origin:
            self.mark(tensor, SEEN, key=key)
        return "" if known is None else known.name

    def wrote(self, tensor: torch.Tensor, *, wholly: bool) -> str | None:
        """Note that an operation wrote a tensor that it was given, all of it or an unknown part, and return its name.

        Uninitialised memory stays what it is until all of it was written at once: None if a part of it still is.
        """
        key = storage_key(tensor)
        known = self._known.get(key)
        is_whole = wholly and _is_whole(tensor)
        if known is not None and known.origin == UNINITIALISED and not is_whole:
            return known.name if wholly else None
        if is_whole:
            self._overwritten += self._unread.pop(key, ())
        return self.made(tensor, key)

    def forget_overwritten(self, start: int) -> None:
        """Leave out of what was written over what the records from this number on had written."""
        self._overwritten = [record for record in self._overwritten if record < start]

    def take_overwritten(self) -> list[int]:
        """Return the records of which something was written over before anything read it, and begin anew."""
        self._unread.clear()
        taken, self._overwritten = sorted({*self._overwritten}), []
        return taken

    def mark(
        self, tensor: torch.Tensor, origin: str, spot: Spot | None = None, name: str | None = None, key: Any = None
    ) -> None:
        """Note where the content of a tensor's storage came from, and what it is called if that is new."""
        key = storage_key(tensor) if key is None else key
        if key is None:
            return
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._most:
                self._forget_freed()
            known = _Storage(StorageWeakRef(tensor.untyped_storage()), origin, spot, "")
        self._known[key] = _Storage(known.reference, origin, spot, known.name if name is None else name)

    def mark_all(self, tensors: Iterable[torch.Tensor], origin: str, spot: Spot | None) -> None:
        """Mark those of some tensors that have memory of their own."""
        for tensor in tensors:
            if is_plain(tensor):
                self.mark(tensor, origin, spot)

    def call(self, tensor: torch.Tensor, name: str) -> None:
        """Let memory that a tensor has for itself be called `name` in records."""
        if storage_key(tensor) is not None and _is_whole(tensor):
            self.mark(tensor, SEEN, name=name)

    def mark_alive(self) -> None:
        """Note that the memory of every tensor that is alive was there before; it takes some 0.1 us for each object."""
        # No code of the user's is run: isinstance would ask for __class__, and a subclass for its attributes.
        with without_overrides():
            for thing in gc.get_objects():
                if issubclass(type(thing), torch.Tensor) and is_plain(thing):
                    self.mark(thing, EARLIER)
                    if thing.is_leaf and thing.grad is not None:
                        self.mark(thing.grad, EARLIER)

    def clear(self) -> None:
        self._known.clear()
        self._unread.clear()

    def _forget_freed(self) -> None:
        """Let go of storages that are gone: now and then, so that its time is spread over many operations."""
        for key, known in list(self._known.items()):
            if known.reference.expired():
                self._known.pop(key, None)
        self._most = max(FEWEST, 2 * len(self._known))


def _is_whole(tensor: torch.Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


class ThreadWatch:
    """Notes, of memory that threads started from now on write, which line wrote it last.

    A dispatch mode sees the thread alone that entered it. `threading.setprofile` is what Python has for being called
    first in every new thread; the profiler that was there before gets each thread right after.
    """

    def __init__(self, storages: Storages, places: Places) -> None:
        self.storages = storages
        self.places = places
        self._previous: Any = None
        self.is_on = False

    def start(self) -> None:
        self._previous, self.is_on = threading.getprofile(), True
        threading.setprofile(self._begin)

    def stop(self) -> None:
        """Watch no more; a thread that goes on runs a mode that does nothing."""
        if self.is_on and threading.getprofile() == self._begin:
            threading.setprofile(self._previous)
        self.is_on = False

    def _begin(self, frame: FrameType, event: str, argument: Any) -> None:
        sys.setprofile(self._previous)
        if self.is_on:
            _WriteMode(self).enter()  # it ends with its thread


class _WriteMode(DispatchMode):
    def __init__(self, watch: ThreadWatch) -> None:
        super().__init__()
        self._watch = watch
        self._operations: dict[int, tuple[Any, Operation]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if self._watch.is_on and schema_of(function) is not None:
            known = self._operations.get(id(function)) or (function, Operation(function))
            self._operations[id(function)] = known
            if not known[1].is_view:
                spot = self._watch.places.here()
                # Without a line of the user's it is a thread of torch's own, as a loader has: what it makes is data.
                made = () if spot is None else tensors_in(result)
                self._watch.storages.mark_all((*known[1].writes(args, kwargs), *made), THREAD, spot)
        return result
