"""How often a property is tried: the same few times at a desk and in CI; as often as is asked for before a release.

`DETERMINISTIC_EXAMPLES=20000 pytest ...` tries that many examples, other ones every time. Of a table whose rows are
tried in the same way, `on_demand` leaves some to `pytest --exhaustive`; of two tables, `covering` most pairs of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings

ASKED_FOR = os.environ.get("DETERMINISTIC_EXAMPLES")
EXAMPLES = int(ASKED_FOR or 20)


def examples(times: float = 1) -> int:
    """Return how many examples of a cheap property, or of a dear one, are tried; never more than are asked for."""
    return int(EXAMPLES * (min(times, 1) if ASKED_FOR else times))


def on_demand(rows: Iterable[object]) -> list[Any]:
    """Return rows for `pytest.mark.parametrize` that are tried with `--exhaustive` alone; a tuple is one of columns."""
    columns = (row if isinstance(row, tuple) else (row,) for row in rows)
    return [pytest.param(*values, marks=pytest.mark.exhaustive) for values in columns]


def covering(first: Sequence[object], second: Sequence[object]) -> list[Any]:
    """Return all pairs of two tables' rows; tried with `--exhaustive` alone, but for as few as have each row."""
    tried = {(place % len(first), place % len(second)) for place in range(max(len(first), len(second)))}
    return [
        pytest.param(one, other, marks=[] if (row, column) in tried else pytest.mark.exhaustive)
        for row, one in enumerate(first)
        for column, other in enumerate(second)
    ]


PROFILE = "suite"
settings.register_profile(PROFILE, max_examples=EXAMPLES, derandomize=ASKED_FOR is None, deadline=None, database=None)
