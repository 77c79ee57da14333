"""lhotse's samplers, which are their own iterators and make their generators when they are iterated."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lhotse import CutSet
from lhotse.dataset import BucketingSampler, DynamicBucketingSampler, IterableDatasetWrapper, SimpleCutSampler
from lhotse.testing.dummies import DummyManifest
from torch.utils.data import Dataset

from deterministic import make_loader
from deterministic.testing import check_sampler, check_stream

from ...properties import on_demand
from .killed import cases, killed_anywhere

pytestmark = pytest.mark.filterwarnings("ignore:You are using DynamicBucketingSampler with an eagerly:UserWarning")


def cuts() -> Any:
    """Return 12 cuts of one to five seconds."""
    made = DummyManifest(CutSet, begin_id=0, end_id=12)
    for place, cut in enumerate(made):
        cut.duration = 1.0 + place * 7 % 5
    return made


SAMPLERS: dict[str, Callable[[], Any]] = {
    "simple": lambda: SimpleCutSampler(cuts(), max_cuts=3, shuffle=True, seed=1),
    "simple, in order": lambda: SimpleCutSampler(cuts(), max_cuts=3),
    "bucketing": lambda: BucketingSampler(cuts(), max_duration=8.0, shuffle=True, num_buckets=2, seed=1),
    "dynamic bucketing": lambda: DynamicBucketingSampler(
        cuts(), max_duration=8.0, shuffle=True, num_buckets=2, seed=1, buffer_size=8
    ),
}


def names(batch: Any) -> list[str]:
    return [cut.id for cut in batch]


class Names(Dataset[Any]):
    """Asked for the cuts of a batch, it says what they are called, and draws."""

    def __getitem__(self, batch: Any) -> list[Any]:
        return [*names(batch), random.random()]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_of_cuts_is_exact(name: str) -> None:
    assert check_sampler(SAMPLERS[name], batch_size=None, collate_fn=names, num_workers=0) == []


def test_a_worker_that_fetches_ahead_changes_nothing() -> None:
    sampler = SAMPLERS["dynamic bucketing"]
    assert check_sampler(sampler, batch_size=None, collate_fn=names, num_workers=1, persistent_workers=True) == []


@pytest.mark.parametrize("name", ["bucketing", *on_demand(sorted(SAMPLERS.keys() - {"bucketing"}))])
def test_a_sampler_wrapped_into_a_stream_is_exact_or_refused(name: str) -> None:
    def wrapped() -> Any:
        return IterableDatasetWrapper(Names(), SAMPLERS[name]())

    told = check_stream(wrapped, batch_size=None, collate_fn=list, num_workers=0)
    assert not [case for case in cases(told) if case.startswith(("iterated", "resumed within epoch 0"))]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_killed_training_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    make = lambda: make_loader(Names(), sampler=SAMPLERS[name](), batch_size=None, collate_fn=list, seed=0)  # noqa: E731
    assert killed_anywhere(make, tmp_path, stride=3) == {"exact"}
