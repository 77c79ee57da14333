"""Which values are kept as they are, and that they are copies."""

from __future__ import annotations

import pytest
import torch

from deterministic.trace.recording import kept as module
from deterministic.trace.recording.kept import Kept
from deterministic.values.distance import elements_of


def values_of(kept: Kept) -> dict[tuple[int, int, int], list[int]]:
    return {key: elements.bits.ravel().tolist() for key, elements in kept}


def test_what_is_kept_is_a_copy_of_the_one_value() -> None:
    kept, x = Kept((1, 1)), torch.tensor([1, 2])
    kept.offer(1, [None, x])
    assert not values_of(kept)  # the segment is not running
    kept.segment = 7
    kept.offer(0, [None, x])
    kept.offer(1, [None])
    assert not values_of(kept)
    assert kept.wants(1)
    kept.offer(1, [x, x])
    x.add_(1)
    assert values_of(kept) == {(7, 1, 1): [1, 2]}
    assert not kept.wants(1)


def test_without_one_that_is_asked_for_those_are_kept_that_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 16)
    monkeypatch.setattr(module, "MOST", 32)
    kept = Kept()
    kept.segment = 0
    assert not kept.wants(0)
    kept.offer(0, [torch.tensor([1, 2]), torch.tensor([1, 2, 3]), None])
    kept.offer(1, [torch.zeros(1).to_sparse(), torch.zeros(1, device="meta")])
    kept.offer(1, [torch.tensor([1])], "optimizer")
    kept.offer(2, [torch.tensor([3]), torch.tensor([4, 5]), torch.tensor([6])])
    assert values_of(kept) == {(0, 0, 0): [1, 2], (0, 2, 0): [3], (0, 2, 2): [6]}


def test_it_says_when_a_segment_has_as_many_records_as_it_is_to_have() -> None:
    kept, told = Kept(), []
    kept.segment, kept.records, kept.on_full = 0, 2, lambda: told.append(1)
    kept.offer(1, [])
    assert not told
    kept.offer(2, [])
    assert told


def test_the_elements_of_a_view_are_kept_in_their_order() -> None:
    kept, x = Kept(), torch.arange(6).reshape(2, 3)
    kept.segment = 0
    kept.offer(0, [x.t(), torch.tensor([1 + 2j]).conj()])
    (_, first), (_, second) = kept
    assert first.bits.ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert (first.name, first.shape, second.name, second.bits.shape) == ("int64", (3, 2), "float32", (1, 2))
    wanted = elements_of(torch.tensor([1 - 2j]))
    assert wanted is not None
    assert second.bits.tolist() == wanted.bits.tolist()
