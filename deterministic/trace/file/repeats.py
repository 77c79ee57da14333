"""Hashes that a segment has more than once, stored once.

What a module returns is what its last operation returned, and what an optimizer's step leaves is what its last
operation wrote: of the hashes of a step about half are there twice or more, and at the same places in every step. So a
segment has its *distinct* hashes, and shares its *repeats* with the segments that are like it: one number for each
hash, 0 where it is new, else how far before it the same one is met first, as in LZ77.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np


def without_repeats(hashes: Sequence[int]) -> tuple[array[int], array[int]]:
    """Return the distinct hashes in the order in which they come, and the repeats."""
    if not len(hashes):
        return array("Q"), array("I")
    plain = np.frombuffer(array("Q", hashes), np.uint64)
    _, firsts, numbers = np.unique(plain, return_index=True, return_inverse=True)
    repeats = np.arange(len(plain)) - firsts[numbers]
    return array("Q", plain[repeats == 0].tobytes()), array("I", repeats.astype(np.uint32).tobytes())


def with_repeats(distinct: array[int], repeats: array[int]) -> array[int]:
    """Return the hashes.

    Raises:
        ValueError: The two do not belong together.
    """
    if not len(repeats) and not len(distinct):
        return array("Q")
    back = np.frombuffer(repeats, np.uint32).astype(np.int64)
    is_new = back == 0
    places = np.cumsum(is_new) - 1
    again = np.flatnonzero(back)
    firsts = again - back[again]
    if is_new.sum() != len(distinct) or (firsts < 0).any() or not is_new[firsts].all():
        raise ValueError(f"{len(distinct)} hashes for {len(repeats)} places with other repeats")
    places[again] = places[firsts]
    return array("Q", np.frombuffer(distinct, np.uint64)[places].tobytes())


def count_of_values(records: array[int], counts: array[int]) -> int:
    """Return how many hashes records have.

    Args:
        records: The site of each.
        counts: How many values each site has.

    Raises:
        IndexError: There is no such site.
    """
    return int(np.frombuffer(counts, np.uint32)[np.frombuffer(records, np.uint32)].sum()) if len(records) else 0
