"""A billion samples: the first batch, a resume and a replay come at once, wherever, and in little memory."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic import make_loader
from deterministic.data.orders import shuffling

from .datasets import Draws, InBatches, draws, epochs
from .test_ranks import as_rank, global_batches, on_each_rank

SMALL, MIB = 10**4, 2**20
LENGTHS = [SMALL, 10**9, 10**12, 2**63 - 1]
SIZE = 64

ORDERS: dict[str, dict[str, Any]] = {
    "shuffled": {"shuffle": True},
    "blocks": {"shuffle": "blocks", "block_size": 1000},
    "sequential": {"shuffle": False},
}
every_order = pytest.mark.parametrize("order", ORDERS)


class Numbers:
    """As many samples as you like, each its index and what it draws; no base class."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> list[float]:
        return [index, *draws()]


def over(length: int, order: str, **arguments: Any) -> Any:
    defaults: dict[str, Any] = {"batch_size": SIZE, "seed": 7, "collate_fn": list, "randomness": "batch"}
    return make_loader(Numbers(length), **{**defaults, **ORDERS[order], **arguments})


def at_the_end(loader: Any, length: int, batches: int) -> Any:
    """Load the loader to so many batches before the end of epoch 3."""
    done = -(-length // SIZE) - batches
    loader.load_state_dict({**loader.state_dict(), "epoch": 3, "done": done * SIZE})
    return loader


def rest_of(loader: Any, length: int, batches: int = 3) -> Any:
    """Return the last batches of epoch 3, and see that there are no more."""
    # Not list(loader): it makes room for all batches that len(loader) says.
    return list(islice(at_the_end(loader, length, batches), batches + 1))


@every_order
@pytest.mark.parametrize("length", LENGTHS)
def test_the_end_of_a_long_epoch_is_gone_to_and_its_samples_are_replayed(length: int, order: str) -> None:
    rest = rest_of(over(length, order), length)
    assert [len(batch) for batch in rest] == [SIZE, SIZE, (length - 1) % SIZE + 1]
    indices = [row[0] for batch in rest for row in batch]
    assert len(set(indices)) == len(indices)
    assert all(0 <= index < length for index in indices)
    loader = over(length, order)
    for row in [*rest[0][:5], *rest[2][-5:]]:
        assert loader.replay(3, row[0]) == row
    assert rest_of(loader, length, 2) == rest[1:]
    assert at_the_end(over(length, order, num_workers=1), length, 3).peek() == rest[0]


@every_order
@pytest.mark.parametrize("length", LENGTHS[1:3])
def test_ranks_share_a_long_epoch_and_others_go_on_with_it(length: int, order: str) -> None:
    alone = rest_of(over(length, order, randomness="sample"), length)
    for world_size in (2, 4):
        seen = []
        for rank in range(world_size):
            with as_rank(rank, world_size):
                made = make_loader(Numbers(length), seed=7, collate_fn=list, global_batch_size=SIZE, **ORDERS[order])
                seen.append(rest_of(made, length))
        together = global_batches(seen)
        assert together[:2] == alone[:2]
        assert together[2][: len(alone[2])] == alone[2]


@pytest.mark.parametrize("order", ["shuffled", "blocks"])
def test_a_long_epoch_takes_no_more_memory_than_a_short_one(order: str) -> None:
    def used(length: int) -> int:
        tracemalloc.start()
        try:
            loader = over(length, order)
            iterator = iter(loader)
            first = [next(iterator) for _ in range(3)]
            assert len(loader) == -(-length // SIZE)
            assert loader.sampler.total_size == length
            loader.load_state_dict(loader.state_dict())
            loader.peek()
            loader.check()
            loader.replay(0, first[2][0][0])
            rest_of(loader, length)
            next(iter(loader.sampler))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    used(SMALL)  # what is imported and kept at the first time
    short = used(SMALL)
    for length in LENGTHS[1:]:
        assert used(length) - short < MIB


@pytest.fixture
def always_the_bijection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffling, "WHOLE", 0)


@pytest.mark.usefixtures("always_the_bijection")
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 42])
def test_the_bijection_gives_every_sample_once_and_the_same_on_all_ranks(length: int) -> None:
    def make() -> Any:
        return make_loader(Draws(length), shuffle=True, seed=7, global_batch_size=8)

    alone = epochs(make())
    for epoch in alone:
        assert sorted(row[0] for batch in epoch for row in batch) == list(range(length))
    assert length < 3 or alone[0] != alone[1]
    for world_size in (2, 4):
        seen = global_batches(on_each_rank(world_size, make))
        assert [batch[: len(one)] for batch, one in zip(seen, alone[0], strict=True)] == alone[0]


@given(
    length=st.integers(1, 40),
    size=st.integers(1, 9),
    world_size=st.integers(1, 4),
    drop_last=st.booleans(),
    order=st.sampled_from([{"shuffle": True}, {"shuffle": False}, {"shuffle": "blocks", "block_size": 3}]),
    is_whole=st.booleans(),
)
def test_each_sample_of_each_rank_is_replayed_with_its_batch(
    length: int, size: int, world_size: int, drop_last: bool, order: dict[str, Any], is_whole: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffling, "WHOLE", 65_536 if is_whole else 0)
        times: dict[float, int] = {}
        for rank in range(world_size):
            with as_rank(rank, world_size):
                loader = make_loader(InBatches(length), size, seed=1, drop_last=drop_last, **order)
                for batch in loader:
                    for row in batch.tolist():
                        # Which of its appearances it is: the fill of a last batch counts on.
                        again = [n for n in range(world_size + 1) if _replayed(loader, row[0], n) == row]
                        assert again, "no replay gives it"
                        times[row[0]] = times.get(row[0], 0) + 1
        if not drop_last:
            assert set(times) == set(range(length))


def _replayed(loader: Any, index: float, occurrence: int) -> Any:
    try:
        return loader.replay(0, int(index), occurrence).tolist()
    except ValueError:
        return None


def test_what_is_not_in_a_long_epoch_is_not_replayed() -> None:
    loader = over(10**9, "shuffled", drop_last=True)
    for index, occurrence in ((10**9, 0), (-1, 0), ("a", 0), (0, 1), (2**70, 0)):
        with pytest.raises(ValueError, match="0 <= index < 1000000000"):
            loader.replay(0, index, occurrence)
    dropping = over(10**9 + 1, "sequential", drop_last=True)
    with pytest.raises(ValueError, match="no batch of the epoch has it"):
        dropping.replay(0, 10**9)
    assert dropping.replay(0, torch.tensor(5))[0] == 5


def test_a_batch_may_be_larger_than_what_is_looked_up_at_once_and_than_the_data() -> None:
    for size in (5000, 10**30):
        batches = list(over(9000, "shuffled", batch_size=size))
        assert sorted(row[0] for batch in batches for row in batch) == list(range(9000))
        assert len(batches[0]) == min(size, 9000)
