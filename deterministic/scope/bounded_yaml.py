"""PyYAML's safe loader, which refuses what would take it far longer to read than it is long."""

from __future__ import annotations

from typing import Any

import yaml

from .from_config import DEEPEST, MOST_DIGITS

_MOST_COPIES = 100_000
"""Values that all aliases and merge keys stand for: nested in each other, a few lines would stand for billions."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """Counts what aliases stand for before it is put in their place."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[tuple[str | None, int, int]] = [(None, 0, 0)]
        self._known: dict[str | None, tuple[int, int]] = {}  # by anchor: how many values, and how deep
        self._copies = 0

    def get_event(self) -> Any:
        event = super().get_event()
        anchor, size, height = getattr(event, "anchor", None), 1, 0
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append((anchor, 1, 1))
        elif isinstance(event, (yaml.CollectionEndEvent, yaml.NodeEvent)):
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, size, height = self._open.pop()
            elif isinstance(event, yaml.AliasEvent):
                size, height = self._known.get(anchor, (1, 0))
                self._copies += size
            self._known[anchor] = size, height
            above, before, deep = self._open[-1]
            self._open[-1] = above, before + size, max(deep, height + 1)
        if self._copies > _MOST_COPIES:
            self._refuse(f"an alias, with which more than {_MOST_COPIES:,} values are copies", event)
        if len(self._open) - 1 + height > DEEPEST:
            self._refuse(f"containers nested deeper than {DEEPEST}", event)
        return event

    def construct_scalar(self, node: Any) -> Any:
        if node.tag in _NUMBERS and len(node.value) > MOST_DIGITS:
            self._refuse(f"a number of {len(node.value)} digits", node)
        return super().construct_scalar(node)

    def _refuse(self, problem: str, place: Any) -> None:
        raise yaml.MarkedYAMLError(None, None, problem, place.start_mark)
