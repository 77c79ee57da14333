"""The epoch of a dataset that asks for it with a `set_epoch`: the loader tells it, and hears what the user has set."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from ...ground.arguments import as_integer
from ...values.stateful import takes
from .held import Held
from .isolation import Isolated
from .keys import Keying, epoch_key
from .states import seed_generators


class _Told(NamedTuple):
    """Which epoch this process told an object last (None: its user set it since), and which it said afterwards."""

    one: weakref.ref[Any]
    epoch: int | None
    shown: int | None


_told: dict[int, _Told] = {}  # by id, for datasets need not have a hash


class DatasetEpoch:
    """The outermost that has a `set_epoch`, of a dataset and those in it; told with draws from the loader's seed."""

    def __init__(self, dataset: Any, keying: Keying | None = None) -> None:
        self._dataset = dataset
        self._keying = keying
        self._held = None if keying is None else Held(dataset, "dataset", keying)

    def __getstate__(self) -> tuple[dict[str, Any], list[tuple[Any, int | None, int | None]]]:
        """A copy's dataset has been told what this one has."""
        return self.__dict__, [(one, *last[1:]) for one in self.listeners if (last := _told_last(one)) is not None]

    def __setstate__(self, state: tuple[dict[str, Any], list[tuple[Any, int | None, int | None]]]) -> None:
        self.__dict__.update(state[0])
        for one, epoch, shown in state[1]:
            _note(one, epoch, shown)

    @cached_property
    def listeners(self) -> list[Any]:
        """What has a `set_epoch`; looked for once, in the process that asks: workers may change what they hold."""
        return _listeners(self._dataset, set())

    def tell(self, epoch: int) -> None:
        """Tell the dataset the epoch, unless it was told in this process and still says so."""
        for one in self.listeners:
            last = _told_last(one)
            if last is None or last[1:] != (epoch, _shown(one)):
                self._tell_one(one, epoch)

    def _tell_one(self, one: Any, epoch: int) -> None:
        tell_one(one, epoch, 0 if self._keying is None else self._keying.seed, self._held)

    def settle(self) -> None:
        """Take what the dataset says now for its own doing: it was just asked for samples, and may count by itself."""
        for one in self.listeners:
            if (last := _told_last(one)) is not None:
                _note(one, last.epoch, _shown(one))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """A `with` block that may tell the dataset other epochs: it is told the present one at its end."""
        before = [(one, _told_last(one), _shown(one)) for one in self.listeners]
        try:
            yield
        finally:
            for one, last, shown in before:
                epoch = shown if last is None or last.epoch is None or last.shown != shown else last.epoch
                if (_told_last(one) is last and _shown(one) == shown) or epoch is None or epoch < 0:
                    continue  # what cannot be put back need not be: it is told before it is asked again
                self._tell_one(one, epoch)
                _told.pop(id(one), None)
                if last is not None:
                    _told[id(one)] = last


def tell_one(one: Any, epoch: int, seed: int, held: Held | None = None) -> None:
    """Call `set_epoch`, whose draws leave the caller's generators alone and are the same in every process."""
    key = epoch_key(seed, epoch, "set_epoch")
    with Isolated():
        seed_generators(key)
        if held is not None:
            held.settle()
            held.key(key)
        if _is_counter(one):
            one.next_epoch = epoch
        else:
            one.set_epoch(epoch)
    _note(one, epoch, _shown(one))


def users_epoch(listeners: Iterable[Any]) -> int | None:
    """Return the epoch that the user has set on one of these since a loader told it one, and note it; None: on none.

    An object that shows no `epoch`, or another than it is told, does not say what its user set.
    """
    for one in listeners:
        shown, last = _shown(one), _told_last(one)
        before = 0 if last is None else last.shown
        if shown is not None and shown >= 0 and shown != before and (last is None or last.epoch in (None, before)):
            _note(one, None, shown)
            return shown
    return None


def _note(one: Any, epoch: int | None, shown: int | None) -> None:
    key = id(one)
    with contextlib.suppress(TypeError):  # nobody can refer to it weakly: it is told again
        _told[key] = _Told(weakref.ref(one, lambda _: _told.pop(key, None)), epoch, shown)


def _told_last(one: Any) -> _Told | None:
    last = _told.get(id(one))
    return last if last is not None and last.one() is one else None


def _shown(one: Any) -> int | None:
    return as_integer(getattr(one, "epoch", None))


def _listeners(value: Any, seen: set[int]) -> list[Any]:
    """Return what has a `set_epoch`, from the outside to the inside: what stands around one tells it itself."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    if takes(value, "set_epoch", 0) or _is_counter(value):
        return [value]
    held = getattr(value, "__dict__", {})  # not by getattr: a property may open a file
    return [inner for name in held for one in _inside(name, held[name]) for inner in _listeners(one, seen)]


def _is_counter(value: Any) -> bool:
    """Return whether it is one of mosaicml-streaming's: it counts its passes, in memory that all processes share."""
    return getattr(getattr(type(value), "next_epoch", None), "fset", None) is not None


def _inside(name: str, held: Any) -> list[Any]:
    """Return the datasets that an attribute holds: under the names of torch's own whatever it is."""
    several = held.values() if isinstance(held, dict) else held
    if isinstance(held, (dict, list, tuple)):  # of which one may hold all data, so that it is not copied
        return list(several) if name == "datasets" or isinstance(next(iter(several), None), Dataset) else []
    return [held] if name in ("dataset", "datasets") or isinstance(held, Dataset) else []
