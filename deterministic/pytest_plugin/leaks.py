"""`--reproducible-leaks`: what a test leaves changed for those after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import explain
from ..ground import snapshot
from ..scope import stack
from ..sources import SOURCES
from .drawn import has_only_drawn

if TYPE_CHECKING:
    from ..ground.snapshot import Snapshot
    from ..ground.source import JSON, Source


class Watch:
    """Remembers every source at the beginning of a test, for its end.

    A setting counts if it has another value; a generator if it is at a place where drawing alone does not lead: it was
    seeded, or its state was set. That it has moved on is what generators are for. Fixtures that several tests share
    are not the test's, and what they change is not held against it.

    Args:
        generators: Whether generators count.
    """

    def __init__(self, *, generators: bool) -> None:
        self._sources = [source for source in SOURCES if generators or source.kind == "setting"]
        self._before = self.now()
        self._open = stack.entries()

    def now(self) -> Snapshot:
        """Return what every source that counts holds now."""
        return snapshot.capture(self._sources)

    def accept_since(self, before: Snapshot) -> None:
        """Take what has changed since `before` for what the test began with."""
        for source, state in self.now().items():
            if source.describe(state) != source.describe(before[source]):
                self._before[source] = state

    def end(self) -> str:
        """Give back what was left changed, so that the next test is not blamed, and say what it was; empty: nothing."""
        left_open = [entry for entry in stack.entries() if entry not in self._open]
        found = [f"a scope is open: reproducible() at {entry.site}" for entry in left_open]
        for entry in reversed(left_open):
            stack.leave(entry)
        leaks: Snapshot = {}
        for source, state in self.now().items():
            lines = list(_changes(source, self._before[source], state))
            if lines:
                leaks[source] = self._before[source]
                found += lines
        snapshot.restore(leaks)
        if not found:
            return ""
        return explain(
            "this test left sources changed; they were given back",
            tuple(found),
            "Change them inside of `with reproducible(...)`, or mark the test: @pytest.mark.reproducible.",
        )


def _changes(source: Source, before: Any, now: Any) -> Iterator[str]:
    one, other = source.describe(before), source.describe(now)
    if one == other:
        return
    if source.kind == "rng":
        if not has_only_drawn(source, before, now):
            yield f"{source.name}: seeded, or its state was set"
        return
    for name in {**one, **other}:
        if one.get(name) != other.get(name) or (name in one) != (name in other):
            yield f"{source.name}.{name}: {_shown(one, name)} -> {_shown(other, name)}"


def _shown(values: Mapping[str, JSON], name: str) -> str:
    return repr(values[name]) if name in values else "not there"
