"""The suspended parts of the stack: a part is forgotten when nothing else holds it, whoever is looking at them."""

from __future__ import annotations

from deterministic.scope.entry import SuspendedPart, SuspendedParts


def test_a_part_is_known_until_it_is_back_or_nobody_can_put_it_back() -> None:
    parts = SuspendedParts()
    first, second = SuspendedPart([], {}), SuspendedPart([], {})
    parts.add(first)
    parts.add(second)
    assert set(parts) == {first, second}
    parts.discard(first)
    assert list(parts) == [second]
    del second
    assert not list(parts)


def test_a_part_may_be_collected_while_somebody_looks_through_them() -> None:
    parts = SuspendedParts()
    held = [SuspendedPart([], {}) for _ in range(4)]
    for part in held:
        parts.add(part)
    del part
    found = 0
    for _ in parts:
        found += 1
        del held[:]
    assert found == 1
