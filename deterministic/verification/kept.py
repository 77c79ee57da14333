"""The file beside a trace with values of its records as they were.

It is JSON, what there is and where, in a line; and then the bits. Importing it does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..values.distance import Elements

SUFFIX = ".kept"


def leave(trace: Path, kept: Iterable[tuple[Sequence[int], Elements]]) -> None:
    """Write values beside a trace, each with its segment, record and number; where there is no room, none."""
    index, parts, at = [], [], 0
    for key, (name, shape, bits) in kept:
        parts.append(np.ascontiguousarray(bits).data)
        index.append([key, name, shape, bits.dtype.str, bits.shape, at])
        at += bits.nbytes
    try:
        with open(f"{trace}{SUFFIX}", "wb") as file:
            file.writelines([json.dumps(index).encode(), b"\n", *parts])
    except OSError:
        forget(trace)


def find(trace: Path, *key: int) -> Elements | None:
    """Return the value of a segment, a record and a number; None if it was not kept."""
    path = Path(f"{trace}{SUFFIX}")
    if not path.exists():
        return None
    with open(path, "rb") as file:
        index = json.loads(file.readline())
        for found, name, shape, dtype, rows, at in index:
            if found == [*key]:
                file.seek(at, 1)
                return Elements(name, tuple(shape), np.fromfile(file, dtype, rows[0] * rows[1]).reshape(rows))
    return None


def forget(trace: Path) -> None:
    """Remove the file."""
    Path(f"{trace}{SUFFIX}").unlink(missing_ok=True)
