"""How often a property is tried: a little at a desk, more in CI, and as often as is asked for at night, never the same.

`DETERMINISTIC_EXAMPLES=20000 pytest ...` tries that many examples, other ones every time. Of a table whose rows are
tried in the same way, `on_demand` leaves some to `pytest --exhaustive`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

ASKED_FOR = os.environ.get("DETERMINISTIC_EXAMPLES")
EXAMPLES = int(ASKED_FOR or (50 if os.environ.get("CI") else 20))


def examples(times: float = 1) -> int:
    """Return how many examples of a cheap property, or of a dear one, are tried; never more than are asked for."""
    return int(EXAMPLES * (min(times, 1) if ASKED_FOR else times))


def on_demand(rows: Iterable[object]) -> list[Any]:
    """Return rows for `pytest.mark.parametrize` that are tried with `--exhaustive` alone."""
    return [pytest.param(row, marks=pytest.mark.exhaustive) for row in rows]


PROFILE = "suite"
settings.register_profile(PROFILE, max_examples=EXAMPLES, derandomize=ASKED_FOR is None, deadline=None, database=None)
