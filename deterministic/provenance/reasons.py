"""What could not be found out is null, and says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import DeterministicError

REASON = "reason."  # what the name of a field begins with that says why another is null


def told(facts: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return facts, and of each that is null why it is."""
    return {**facts, **{REASON + name: why for name, value in facts.items() if value is None}}


def or_null(*names: str) -> Callable[[Callable[[], dict[str, Any]]], Callable[[], dict[str, Any]]]:
    """Let a look at what is not ours return null for these fields, or all that begin so, and why, where it raises.

    Checkpoints and traces have a manifest: an odd interpreter, a broken package or a closed door must not end a run.
    """

    def around(look: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        def looked() -> dict[str, Any]:
            try:
                return look()
            except Exception as error:  # noqa: BLE001 - what others have can raise anything
                is_ours = isinstance(error, DeterministicError)  # another's text may hold a secret
                said = str(error).splitlines()[0] if is_ours else getattr(error, "strerror", None)
                return told(dict.fromkeys(names), said or f"looking raised {type(error).__name__}")

        return looked

    return around
