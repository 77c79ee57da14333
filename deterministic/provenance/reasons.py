"""What could not be found out is null, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REASON = "reason."
"""What the name of a field begins with that says why another is null."""


def told(facts: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return facts, and of each that is null why it is."""
    return {**facts, **{REASON + name: why for name, value in facts.items() if value is None}}
