"""Sources of the user's own, and what all of them say now."""

from __future__ import annotations

from ..errors import DeterministicError, explain
from ..ground.source import JSON, Source
from . import SOURCES
from .conformance import check_source


def register_source(source: Source) -> None:
    """Add a source: every scope entered from now on saves, sets and restores it too.

    It is checked first (`deterministic.testing.check_source`) and left as it was found. Settings come before
    generators, in the order of registration. Not thread-safe against scopes being entered.

    Args:
        source: An object with the attributes and methods of `deterministic.sources.base.Source`; with kind "rng"
            also those of `RngSource`.

    Raises:
        TypeError: It lacks something.
        DeterministicError: It breaks the contract, or a source of its name is registered already.
    """
    check_source(source)
    if any(known.name == source.name for known in SOURCES):
        raise DeterministicError(
            explain(
                "a source of this name is registered already",
                (f"found: {source.name!r}", f"known: {', '.join(known.name for known in SOURCES)}"),
                "Give it another name, or do not register it twice.",
            )
        )
    first_generator = next(place for place, known in enumerate(SOURCES) if known.kind == "rng")
    SOURCES.insert(first_generator if source.kind == "setting" else len(SOURCES), source)


def describe() -> dict[str, dict[str, JSON]]:
    """Return what is in effect now, by source: flags by value, generators by a digest of their state.

    Reads every source and changes none. JSON throughout, to be pasted into an issue. Safe to call at any time; not
    atomic against other threads.

    Returns:
        For each source of `deterministic.sources.SOURCES`, by its name, its values.

    Example:
        >>> describe()["torch.cudnn"]["deterministic"]
        False
    """
    return {source.name: dict(source.describe(source.capture())) for source in SOURCES}
