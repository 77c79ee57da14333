from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic.trace.file.model import Segment, Step
from deterministic.trace.file.payloads import U32, U64, with_repeats, without_repeats
from deterministic.trace.file.store import TraceWriter

from .traces import HEADER, SETTINGS, SITES, A, B, read_trace


@pytest.mark.parametrize(
    ("hashes", "distinct", "repeats"),
    [
        ([], [], []),
        ([5], [5], [0]),
        ([5, 5, 5], [5], [0, 1, 2]),
        ([9, 5, 9, 2**64 - 1, 5, 9], [9, 5, 2**64 - 1], [0, 0, 2, 0, 3, 5]),
    ],
)
def test_each_hash_that_is_met_again_is_told_by_how_far_it_was_before(
    hashes: list[int], distinct: list[int], repeats: list[int]
) -> None:
    assert [part.tolist() for part in without_repeats(np.array(hashes, U64))] == [distinct, repeats]


@SETTINGS
@given(hashes=st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1)))
def test_hashes_come_back(hashes: list[int]) -> None:
    distinct, repeats = without_repeats(np.array(hashes, U64))
    assert len(distinct) == len(set(hashes))
    assert with_repeats(distinct, repeats).tolist() == hashes


@SETTINGS
@given(distinct=st.lists(st.integers(0, 9), max_size=5), repeats=st.lists(st.integers(0, 5), max_size=5))
def test_what_does_not_belong_together_is_refused(distinct: list[int], repeats: list[int]) -> None:
    is_new = [not back for back in repeats]
    belongs = sum(is_new) == len(distinct)
    belongs &= all(back <= place and is_new[place - back] for place, back in enumerate(repeats) if back)
    if belongs:
        assert len(with_repeats(np.array(distinct, U64), np.array(repeats, U32))) == len(repeats)
    else:
        with pytest.raises(ValueError, match="hashes for"):
            with_repeats(np.array(distinct, U64), np.array(repeats, U32))


def test_hashes_without_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="1 hashes for 0 places"):
        with_repeats(np.array([1], U64), np.array([], U32))


def test_a_hash_that_is_there_twice_is_stored_once(tmp_path: Path) -> None:
    sizes = []
    with TraceWriter(tmp_path / "a", HEADER) as trace:
        for count in range(3):
            hashes = [2**63 + 2 * count + place for place in (0, 1)] * 500
            trace.write(Segment(Step(0, count), A, B, [0] * 1000, hashes), SITES if not count else ())
            sizes.append((tmp_path / "a").stat().st_size)
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] < 150
    assert [segment.hashes[-2:] for segment in read_trace(tmp_path / "a").segments] == [
        [2**63 + 2 * count, 2**63 + 2 * count + 1] for count in range(3)
    ]
