"""Generators that a dataset holds, each put where a sample's key and its own path say before the sample is made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from ...sources import numpy_random
from ...sources.own_generators import KINDS, OwnGenerator
from .graph import Graph, Link
from .isolation import kept_in_block
from .keys import Keying
from .seeded import label, refuse, row
from .states import writer_for

_PutBack: TypeAlias = Callable[[], object]

_IN_VAIN = 16
"""After so many looks at the graph that found nothing new, places where one may appear are watched no longer."""
_MANY, _ROWS = 64, 100
_REPLACED = (
    "the objects of the %s were looked through %d times for generators, since what leads to one is replaced again and "
    "again: the draws are right, but each look takes time. Make it once, or draw from sample_rng()."
)
_logger = logging.getLogger("deterministic.data")


class _Slot:
    """A place that holds a generator: its path, and what puts the one that is there now where a key says."""

    __slots__ = ("label", "link", "path", "value", "write")

    def __init__(self, path: str, link: Link, label: int) -> None:
        self.path, self.label, self.link = path, label, link
        self.value: Any = self  # which is no generator
        self.follow()

    def follow(self) -> bool:
        """Take another generator that is there now; return whether one is."""
        if (value := self.link.now()) is not self.value:
            self.value, self.write = value, writer_for(value) or (lambda key: None)
        return isinstance(value, KINDS)


class Held:
    """The generators that one object holds, in the process that asks it for samples.

    It walks the object's graph when they are first needed, and again after the first sample, which may have made some.
    Later it does where a link on the way to one leads elsewhere, or an attribute that was None is something. With
    `goes_on` a generator goes on from one fetch to the next, as a stream's does in its epoch.
    """

    def __init__(self, root: Any, name: str, keying: Keying, *, goes_on: bool = False) -> None:
        self._root, self._name, self._keying, self._goes_on = root, name, keying, goes_on
        self._graph = Graph(None, name)
        self._slots: list[_Slot] = []
        self._walks, self._in_vain, self._keyed, self._is_late = 0, 0, 0, False
        self._block: object = None
        self._placed: list[_Slot] = self._slots
        self._noted: dict[int, Any] = {}
        self._outside: list[_PutBack] = []
        self._inside: list[_PutBack] = []

    def __reduce__(self) -> Any:
        """A copy, in this process or another, has generators of its own."""
        return partial(Held, goes_on=self._goes_on), (self._root, self._name, self._keying)

    def __bool__(self) -> bool:
        return bool(self._slots)

    @property
    def may_make_some(self) -> bool:
        """Whether something is None on the way, in whose place a generator may appear."""
        return bool(self._graph.watched) and self._keying.held != "leave"

    @property
    def is_new(self) -> bool:
        """Whether no sample was made yet after which it has looked for generators again."""
        return self._walks < 2 and self._keying.held != "leave"

    def settle(self) -> bool:
        """Look for generators where something has changed; return whether some had no key for samples just made."""
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
        has_more = any(slot.path not in known for slot in self._slots)
        if self._walks and has_more:
            self._tell(known)
        self._is_late = self._is_late or (has_more and self._walks > 0)
        self._walks, self._in_vain = self._walks + 1, self._in_vain + (not has_more)
        if self._walks == _MANY and self._keyed < 8 * _MANY:
            _logger.warning(_REPLACED, self._name, _MANY)

    def _tell(self, known: set[str]) -> None:
        """Add those that were made late to the report's rows, which are the loader's own in its process alone."""
        known = known.union(one["path"] for one in self._keying.rows)
        each = "epoch" if self._goes_on else "batch" if self._name == "collate_fn" else self._keying.randomness
        late = {path: link.value for path, link in self._graph.found if path not in known}
        rows = [row(path, value, f"made late, keyed for each {each}") for path, value in late.items()]
        self._keying.rows.extend(rows[: max(_ROWS - len(self._keying.rows), 0)])

    def _has_changed(self) -> bool:
        if not all(slot.follow() for slot in self._slots) or not all(map(Link.holds, self._graph.links)):
            return True
        return self._in_vain <= _IN_VAIN and not all(map(Link.holds, self._graph.watched))

    def key(self, key: int) -> None:
        """Put each generator where the key and its path say."""
        if not self._slots and not self._graph.links:  # as for most datasets, for each sample
            return
        if not all(map(Link.holds, self._graph.links)):
            self._look()
        self.go_on()
        self._keyed += 1
        for slot in self._slots:
            if slot.link.now() is not slot.value and slot.follow():
                self._note([slot])
            slot.write(key ^ slot.label)

    def go_on(self) -> None:
        """Let the generators, which in this process may be the user's, too, be put back once this fetch is over."""
        block = kept_in_block()
        if is_other := block is not self._block:
            self._block, self._noted, self._outside = block, {}, []
            if block is not None:
                block.append(partial(self._leave, self._outside))
        if is_other or self._slots is not self._placed:
            self._note(self._slots)
        for put_back in self._inside if is_other and block is not None else ():
            put_back()

    def _note(self, slots: list[_Slot]) -> None:
        """Keep where generators are before they are written for the first time in this fetch."""
        self._placed = self._slots
        for value in (slot.value for slot in slots if self._block is not None):
            if isinstance(value, KINDS) and id(value) not in self._noted:
                self._noted[id(value)] = value  # alive, so that no address is used twice
                self._outside.append(_place(value))

    def _leave(self, outside: list[_PutBack]) -> None:
        self._inside = [_place(slot.value) for slot in self._slots] if self._goes_on else []
        for put_back in outside:
            put_back()


def _place(generator: Any) -> _PutBack:
    """Return what puts a generator back where it is now. Of a twister of numpy's a copy takes a hundredth of asking."""
    if (memory := numpy_random.memory(generator)) is None:
        source = OwnGenerator(generator, 0)
        return partial(source.restore, source.capture())
    before = [part.copy() for part in memory]

    def put_back() -> None:
        for part, was in zip(memory, before, strict=True):
            part[:] = was

    return put_back
