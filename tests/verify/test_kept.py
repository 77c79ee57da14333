"""The file beside a trace with values of its records."""

from __future__ import annotations

from pathlib import Path

import torch

from deterministic.values.distance import apart, elements_of
from deterministic.verification import kept

VALUES = [torch.ones(2, 3), torch.tensor([True]), torch.arange(4, dtype=torch.bfloat16), torch.tensor(3 + 1j)]


def test_a_value_is_found_by_its_segment_record_and_number(tmp_path: Path) -> None:
    trace = tmp_path / "run1.trace"
    elements = [elements_of(value) for value in VALUES]
    kept.leave(trace, [((0, index, 1), one) for index, one in enumerate(elements) if one is not None])
    for index, one in enumerate(elements):
        found = kept.find(trace, 0, index, 1)
        assert found is not None
        assert one is not None
        assert (found[:2], found.bits.tolist()) == (one[:2], one.bits.tolist())
    changed = elements_of(torch.tensor([0, 1, 2, 5], dtype=torch.bfloat16))
    found = kept.find(trace, 0, 2, 1)
    assert found is not None
    assert apart(found, changed).startswith("1 of 4 elements, by up to ")
    assert kept.find(trace, 0, 0, 0) is None
    kept.forget(trace)
    assert kept.find(trace, 0, 0, 1) is None


def test_where_there_is_no_room_nothing_is_left(tmp_path: Path) -> None:
    kept.leave(tmp_path / "nowhere" / "run1.trace", [])
    assert kept.find(tmp_path / "nowhere" / "run1.trace", 0, 0, 0) is None
