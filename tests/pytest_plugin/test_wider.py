"""What a fixture of several tests set stays, what its scope set for it goes; the rest is in `test_marker.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from deterministic.pytest_plugin.settings import merged


class Pair(NamedTuple):
    one: bool
    other: bool


STATES: dict[str, tuple[Any, Any, Any, Any]] = {
    "nothing changed": ((False, False), (True, False), (True, False), (False, False)),
    "another part changed": ((False, False), (True, False), (True, True), (False, True)),
    "the part that the scope set changed": ((False, 0), (True, 0), (None, 0), (None, 0)),
    "a list": ([1, 2], [1, 3], [4, 3], [4, 2]),
    "a named tuple": (Pair(False, False), Pair(True, False), Pair(True, True), Pair(False, True)),
    "a key came": ({"a": 1}, {"a": 1, "scope": 1}, {"a": 1, "scope": 1, "b": 2}, {"a": 1, "b": 2}),
    "a key changed": ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
    "a key went": ({"a": 1, "b": 1}, {"a": 1, "b": 1}, {"b": 1}, {"b": 1}),
    "what the scope set went": ({}, {"scope": 1}, {}, {}),
    "of another kind now": (Pair(False, False), Pair(True, False), {"a": 1}, Pair(False, False)),
}


@pytest.mark.parametrize("name", STATES)
def test_what_changed_stays_and_what_was_applied_goes(name: str) -> None:
    before, applied, now, expected = STATES[name]

    assert merged(before, applied, now) == expected
    assert type(merged(before, applied, now)) is type(expected)
