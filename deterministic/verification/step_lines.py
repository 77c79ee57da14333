"""The file in which a rank tells what it has after each step of an optimizer, a line of JSON for each.

Importing it does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

LINES = "steps"  # its name, in the folder of a rank
UNREAD = "?" * 32  # stands in it for the fingerprint of what has none


class StepLine(NamedTuple):
    """What a rank had after a step of an optimizer, from 0 on, or before its first, -1; digests have 32 letters."""

    optimizer: str
    step: int
    names: Sequence[str]
    digests: Sequence[str]

    @property
    def moment(self) -> str:
        return f"after step {self.step} of {self.optimizer}" if self.step >= 0 else f"before {self.optimizer} begins"


def lines_of(path: Path) -> Iterator[StepLine]:
    """Yield the lines of a file; names stand there where they are others than before."""
    names: dict[str, list[str]] = {}
    with open(path, encoding="utf-8") as file:
        for read in map(json.loads, file):
            names.update({read["optimizer"]: read["names"]} if "names" in read else {})
            digests = read["digests"]
            each = [digests[start : start + 32] for start in range(0, len(digests), 32)]
            yield StepLine(read["optimizer"], read["step"], names[read["optimizer"]], each)
