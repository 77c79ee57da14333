"""What two runs printed, compared line by line, whatever bytes are in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from ..errors import clipped

_MOST = 1 << 16
"""Bytes of a line that are looked at together."""

_BEFORE = 30
"""Characters of a line that are shown before the first that differs."""


def output_apart(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return which line of two files is the first that differs, and what it is in each; nothing if none is."""
    number = 1
    with open(paths[0], "rb") as one, open(paths[1], "rb") as other:
        while True:
            lines = one.readline(_MOST), other.readline(_MOST)
            if lines[0] != lines[1]:
                shown = zip(names, _shown(*lines), strict=True)
                return [f"line {number} of its output differs", *(f"  {name}: {line}" for name, line in shown)]
            if not lines[0]:
                return []
            number += lines[0].endswith(b"\n")


def _shown(*lines: bytes) -> list[str]:
    """Return two lines as literals, from shortly before they differ."""
    one, other = (line.decode("utf-8", "backslashreplace") for line in lines)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    start = max(0, same - _BEFORE)
    return [clipped(f"{'...' if start else ''}{text[start:]!r}") for text in (one, other)]
