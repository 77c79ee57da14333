"""What the report says of a loader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..samples.keying import LoaderSeed
from .position import Count

_OPEN = 4
"""How many of the latest epochs may still move: iterators that are used at the same time."""

_MOST = 100
"""How many entries are kept, the latest ones."""


class LoaderRecord:
    """A loader's line in the report. It outlives the loader, keeps none of its data alive, and stays small.

    Args:
        made_at: The user's line that made the loader.
        seed: The loader's.
        notes: What is not independent of the accidental, one sentence each.
        facts: What else is said of it: the scheme, the order, the number of workers.
    """

    def __init__(self, made_at: str, seed: LoaderSeed, notes: list[str], **facts: Any) -> None:
        self._made_at = made_at
        self._seed = seed
        self._notes = notes
        self._facts = facts
        self._closed: list[dict[str, Any]] = []
        self._open: list[Count] = []

    def begin(self, count: Count) -> None:
        """Note an epoch that is started."""
        self._open.append(count)
        if len(self._open) > _OPEN:
            self._closed = _grouped(self._closed, [self._open.pop(0)])

    def describe(self) -> dict[str, Any]:
        """Return the record as JSON; neighbouring epochs that went alike are one entry."""
        return {
            "made_at": self._made_at,
            "seed": None if self._seed.is_drawn_later else self._seed.value,
            **self._facts,
            "epochs": _grouped(self._closed, self._open),
            "notes": self._notes,
        }


def _grouped(groups: list[dict[str, Any]], epochs: Iterable[Count]) -> list[dict[str, Any]]:
    groups = [dict(group) for group in groups]
    for count in epochs:
        alike = {"resumed": count.resumed, "batches": count.batches, "ended": count.ended}
        latest = groups[-1] if groups and groups[-1].items() >= alike.items() else None
        if latest is not None and latest["last"] + 1 == count.epoch and latest["times"] == 1:
            latest["last"] = count.epoch
        elif latest is not None and latest["first"] == latest["last"] == count.epoch:
            latest["times"] += 1
        else:
            groups.append({"first": count.epoch, "last": count.epoch, "times": 1, **alike})
    return groups[-_MOST:]
