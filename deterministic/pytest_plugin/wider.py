"""Fixtures wider than one test: what they set stays, what their scope set for them goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..ground import snapshot
from ..scope import stack

if TYPE_CHECKING:
    from ..scope.entry import ScopeEntry, ScopeSite
    from ..scope.request import Scope


@contextmanager
def inside(scope: Scope, site: ScopeSite, around: ScopeEntry | None) -> Iterator[None]:
    """Set a fixture up in a scope of its own, and let what it set itself outlive that.

    Such a fixture belongs to the tests after this one too: the default dtype that it chose stays, and is given back by
    nobody but the fixture; the deterministic algorithms that the scope switched on for it do not stay. A fixture that
    seeds torch means the generators of the tests to come, so these stay as it left them.

    Args:
        scope: What to enter.
        site: Where to say that it was entered.
        around: The scope of the test that is running already, if it asked for the fixture by name; what the fixture
            set is kept beyond its end too.
    """
    import torch

    entry = scope.enter(site)
    settings = [source for source in entry.saved if source.kind == "setting"]
    applied = snapshot.capture(settings)
    seed = torch.default_generator.initial_seed()
    try:
        yield
    finally:
        now = snapshot.capture(settings)
        for outer in (entry, *([around] if around is not None and around.is_open else ())):
            there = [source for source in settings if source in outer.saved]
            kept = {source: merged(outer.saved[source], applied[source], now[source]) for source in there}
            outer.saved = {**outer.saved, **kept}
        if around is None and torch.default_generator.initial_seed() != seed:
            generators = [source for source in entry.saved if source.kind == "rng"]
            entry.saved = {**entry.saved, **snapshot.capture(generators)}
        stack.leave(entry)


def merged(before: Any, applied: Any, now: Any) -> Any:
    """Return a state of a source with what was changed since it was applied, and everything else as it was before."""
    if not isinstance(now, (dict, list, tuple)):
        return before if applied == now else now
    if isinstance(before, dict) and isinstance(applied, dict) and isinstance(now, dict):
        return _merged_by_key(before, applied, now)
    if type(applied) is not type(now) or type(before) is not type(now):
        return before  # a module was imported meanwhile; its own defaults are what `before` stands for
    if not len(before) == len(applied) == len(now):
        return now
    parts = [merged(*part) for part in zip(before, applied, now, strict=True)]
    return parts if isinstance(now, list) else getattr(type(now), "_make", tuple)(parts)


_MISSING = object()


def _merged_by_key(before: dict[Any, Any], applied: dict[Any, Any], now: dict[Any, Any]) -> dict[Any, Any]:
    origin = {key: before if applied.get(key, _MISSING) == now.get(key, _MISSING) else now for key in {**before, **now}}
    return {key: state[key] for key, state in origin.items() if key in state}
