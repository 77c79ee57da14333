"""Which records of two sequences are the same ones: a longest common subsequence of their keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many keys two sequences of one length begin with alike."""
    unlike = np.flatnonzero(a != b)
    return int(unlike[0]) if len(unlike) else len(a)


def aligned(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which records of two sequences are the same ones, by several kinds of keys.

    Args:
        a: The keys of one sequence, those of the first kind first: the second kind tells of what the first leaves open.
        b: Those of the other.

    Returns:
        As of `common_subsequence`.
    """
    in_a, in_b = common_subsequence(a[0], b[0])
    if len(a) == 1:
        return in_a, in_b
    pairs = [(in_a, in_b)]
    # What lies between two pairs, before the first and behind the last.
    ends = [np.concatenate([[-1], side, [len(keys[0])]]) for side, keys in ((in_a, a), (in_b, b))]
    gaps = zip(*(zip(end[:-1] + 1, end[1:], strict=True) for end in ends), strict=True)
    for (start_a, end_a), (start_b, end_b) in gaps:
        if start_a < end_a and start_b < end_b:
            more = aligned([keys[start_a:end_a] for keys in a[1:]], [keys[start_b:end_b] for keys in b[1:]])
            pairs.append((more[0] + start_a, more[1] + start_b))
    both = [np.sort(np.concatenate(side)).astype(np.intp) for side in zip(*pairs, strict=True)]
    return both[0], both[1]


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
