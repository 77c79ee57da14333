"""Generators that a dataset holds, each put where a sample's key and its own path say before the sample is made."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from ...sources import numpy_random
from ...sources.own_generators import OwnGenerator
from .generators import KINDS
from .graph import Graph, Link
from .isolation import kept_in_block
from .keys import Keying
from .seeded import label, refuse, writer

_PutBack: TypeAlias = Callable[[], object]

_layout_holds, _gauss_offset = cache(numpy_random.layout_holds), cache(numpy_random.gauss_offset)
_TWISTER, _GAUSS = 2500, 16
"""Bytes of a twister and its position, and of whether a `RandomState` holds a Gaussian, and which."""

_IN_VAIN = 16
"""After so many looks at the graph that found nothing new, attributes that were None are watched no longer."""


class _Slot:
    """A place that holds a generator: its path, and what puts the one that is there now where a key says."""

    __slots__ = ("at", "get", "label", "link", "path", "value", "write")

    def __init__(self, path: str, link: Link, label: int) -> None:
        self.path, self.label = path, label
        self.get: Callable[[Any], Any] = partial(getattr, link) if link.get is None else link.get
        self.at: Any = "value" if link.get is None else link.key
        self._take(link)

    def _take(self, link: Link) -> None:
        self.link, self.value = link, link.value
        self.write = writer(link.value) or _let_be

    def follow(self) -> bool:
        """Take another generator that is there now; return whether one is."""
        if (value := self.link.now()) is not self.value:
            self._take(self.link._replace(value=value))
        return isinstance(value, KINDS)


def _let_be(key: int) -> None:
    return None


class Held:
    """The generators that one object holds, in the process that asks it for samples.

    It walks the object's graph when they are first needed, and again after the first sample, which may have made some.
    Later it does where a link on the way to one leads elsewhere, or an attribute that was None is something.

    Args:
        root: A dataset, or a `collate_fn`.
        name: What it is called in paths.
        keying: The loader's.
        goes_on: Whether a generator goes on from one fetch to the next, as a stream's does in its epoch.
    """

    def __init__(self, root: Any, name: str, keying: Keying, *, goes_on: bool = False) -> None:
        self._root, self._name, self._keying, self._goes_on = root, name, keying, goes_on
        self._graph: Graph
        self._slots: list[_Slot] = []
        self._ways: list[Link] = []
        self._walks, self._in_vain, self._is_late = 0, 0, False
        self._block: object = None
        self._inside: list[_PutBack] = []

    def __reduce__(self) -> Any:
        """A copy, in this process or another, has generators of its own."""
        return partial(Held, goes_on=self._goes_on), (self._root, self._name, self._keying)

    def __bool__(self) -> bool:
        return bool(self._slots)

    @property
    def is_new(self) -> bool:
        """Whether no sample was made yet after which it has looked for generators again."""
        return self._walks < 2 and self._keying.held != "leave"

    def settle(self) -> bool:
        """Look for generators where something has changed; return whether samples were made that some had no key for.

        Raises:
            DeterministicError: There are some, and none are wanted.
        """
        if self._keying.held != "leave" and (self.is_new or self._has_changed()):
            self._look()
        was_late, self._is_late = self._is_late, False
        return was_late

    def _look(self) -> None:
        known = {slot.path for slot in self._slots}
        self._graph = graph = Graph(self._root, self._name)
        if graph.found and self._keying.held == "refuse":
            refuse([graph])
        self._slots = [_Slot(path, link, self._keying.labels.get(path) or label(path)) for path, link in graph.found]
        self._ways = [link for link in graph.links if link.get is not None]
        has_more = any(slot.path not in known for slot in self._slots)
        self._is_late = self._is_late or (has_more and self._walks > 0)
        self._walks, self._in_vain = self._walks + 1, self._in_vain + (not has_more)

    def _has_changed(self) -> bool:
        if not all(slot.follow() for slot in self._slots) or not all(map(Link.holds, self._ways)):
            return True
        empty, sizes = self._graph.empty, self._graph.sizes
        is_watched = self._in_vain <= _IN_VAIN
        return is_watched and (
            any(one.get(name) is not None for one, name in empty) or any(len(one) != size for one, size in sizes)
        )

    def key(self, key: int) -> None:
        """Put each generator where the key and its path say."""
        if not all(map(Link.holds, self._ways)):
            self._look()
        self.go_on()
        for slot in self._slots:
            try:
                if slot.get(slot.at) is not slot.value:
                    slot.follow()
            except (AttributeError, LookupError, ValueError):  # nothing is there any more
                continue
            slot.write(key ^ slot.label)

    def go_on(self) -> None:
        """Let the generators, which in this process may be the user's, too, be put back once this fetch is over."""
        block = kept_in_block()
        if block is not self._block:
            self._block = block
            if block is not None and self._slots:
                block.append(partial(self._leave, [_place(slot.value) for slot in self._slots]))
                for put_back in self._inside:
                    put_back()

    def _leave(self, outside: list[_PutBack]) -> None:
        self._inside = [_place(slot.value) for slot in self._slots] if self._goes_on else []
        for put_back in outside:
            put_back()


def _place(generator: Any) -> _PutBack:
    """Return what puts a generator back where it is now. Of a twister of numpy's a copy takes a hundredth of asking."""
    legacy = isinstance(generator, np.random.RandomState)
    bits = getattr(generator, "_bit_generator" if legacy else "bit_generator", None)
    gauss = _gauss_offset() if legacy else 0
    if type(bits) is not np.random.MT19937 or gauss is None or not _layout_holds():
        source = OwnGenerator(generator, 0)
        return partial(source.restore, source.capture())
    data = ctypes.string_at(bits.ctypes.state_address, _TWISTER)
    held = ctypes.string_at(id(generator) + gauss, _GAUSS) if legacy else b""

    def put_back() -> None:
        ctypes.memmove(bits.ctypes.state_address, data, _TWISTER)
        ctypes.memmove(id(generator) + gauss, held, len(held))

    return put_back
