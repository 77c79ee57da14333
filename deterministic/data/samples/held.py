"""Generators that a dataset holds, each put where a sample's key and its own path say before the sample is made."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...sources.own_generators import OwnGenerator
from .generators import KINDS
from .graph import Link, Walk
from .isolation import kept_in_block
from .keys import Keying
from .seeded import label, refuse, writer

_IN_VAIN = 16
"""After so many looks at the graph that found nothing new, attributes that were None are watched no longer."""


class _Slot:
    """A place that holds a generator: its path, and what puts the one that is there now where a key says."""

    __slots__ = ("label", "link", "path", "write")

    def __init__(self, path: str, link: Link, label: int) -> None:
        self.path, self.link, self.label = path, link, label
        self.write = writer(link.value)

    def follow(self) -> bool:
        """Take another generator that is there now; return whether one is."""
        value = self.link.now()
        if value is not self.link.value:
            self.link = self.link._replace(value=value)
            self.write = writer(value)
        return isinstance(value, KINDS)


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
        self._walk: Walk | None = None
        self._slots: list[_Slot] = []
        self._walks = self._in_vain = 0
        self._block: object = None
        self._inside: list[tuple[OwnGenerator, Any]] = []

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
        if self._keying.held == "leave" or not (self.is_new or self._has_changed()):
            return False
        known = {slot.path for slot in self._slots}
        self._walk, self._walks = Walk(self._root, self._name), self._walks + 1
        if self._walk.found and self._keying.held == "refuse":
            refuse([self._walk])
        labels = self._keying.labels
        self._slots = [_Slot(path, link, labels.get(path) or label(path)) for path, link in self._walk.found]
        has_more = any(slot.path not in known for slot in self._slots)
        self._in_vain += not has_more
        return has_more and self._walks > 1

    def _has_changed(self) -> bool:
        walk = self._walk
        if walk is None or not all(slot.follow() for slot in self._slots) or not all(map(Link.holds, walk.links)):
            return True
        if self._in_vain > _IN_VAIN:
            return False
        return any(one.get(name) is not None for one, name in walk.empty) or any(
            len(one) != size for one, size in walk.sizes
        )

    def key(self, key: int) -> None:
        """Put each generator where the key and its path say."""
        self.go_on()
        for slot in self._slots:
            if slot.follow() and slot.write is not None:
                slot.write(key ^ slot.label)

    def go_on(self) -> None:
        """Let the generators, which in this process may be the user's, too, be put back once this fetch is over."""
        block = kept_in_block()
        if block is not self._block:
            self._block = block
            if block is not None and self._slots:
                sources = [OwnGenerator(slot.link.value, 0) for slot in self._slots]
                block.append(partial(self._leave, [(source, source.capture()) for source in sources]))
                _restore(self._inside)

    def _leave(self, outside: list[tuple[OwnGenerator, Any]]) -> None:
        if self._goes_on:
            self._inside = [(source, source.capture()) for source, _ in outside]
        _restore(outside)


def _restore(states: list[tuple[OwnGenerator, Any]]) -> None:
    for source, state in states:
        source.restore(state)
