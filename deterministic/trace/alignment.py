"""Which records of two sequences are the same ones: a longest common subsequence of their keys."""

from __future__ import annotations

import numpy as np


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many keys two sequences of one length begin with alike."""
    unlike = np.flatnonzero(a != b)
    return int(unlike[0]) if len(unlike) else len(a)


def common_subsequence(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in each of two sequences of keys the longest sequence is that both have, its earliest occurrence.

    The time is quadratic, one row of the usual table at a time; what it is walked back by takes a bit for each pair.

    Returns:
        The positions in `a`, and those in `b`, both ascending.
    """
    above = np.zeros(len(b) + 1, np.int32)
    rows = []
    for key in a:
        row = above.copy()
        np.maximum(above[1:], above[:-1] + (b == key), out=row[1:])
        np.maximum.accumulate(row, out=row)
        rows.append(np.packbits(row > above))
        above = row
    pairs = []
    column = len(b)
    for index in range(len(a) - 1, -1, -1):
        grew = np.unpackbits(rows[index], count=len(b) + 1)
        if grew[column]:
            while grew[column - 1]:
                column -= 1
            column -= 1  # where a row begins to grow the two are alike
            pairs.append((index, column))
    positions = np.array(pairs[::-1], np.intp).reshape(-1, 2)
    return positions[:, 0], positions[:, 1]
