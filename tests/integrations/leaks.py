"""What a piece of work leaves changed behind it, by name: all sources, and all variables of the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from deterministic import describe
from deterministic.ground import snapshot
from deterministic.sources import SOURCES

Values = dict[str, Any]

ENVIRONMENT = "environment"


def state_now() -> Values:
    """Return every value of every source as "source.name", of generators a digest; the environment is whole."""
    sources: dict[str, dict[str, Any]] = {**describe(), ENVIRONMENT: dict(os.environ)}
    return {f"{source}.{name}": value for source, values in sources.items() for name, value in values.items()}


def changed(before: Values, after: Values) -> Values:
    """Return what is another value after than before, with the value after; None for what is gone."""
    return {
        name: after.get(name) for name in sorted(before | after) if before.get(name, before) != after.get(name, before)
    }


def leaks(work: Callable[[], object]) -> Values:
    """Return what `work` leaves changed without a block, and give it back by hand."""
    saved, environment = snapshot.capture(SOURCES), dict(os.environ)
    before = state_now()
    try:
        work()
        return changed(before, state_now())
    finally:
        snapshot.restore(saved)
        for name in os.environ.keys() - environment:
            del os.environ[name]
        os.environ.update(environment)
