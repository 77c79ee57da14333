"""`shuffle="blocks"`: neighbours come together, in another order in each epoch, with every promise of an order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from deterministic import make_loader, reproducible
from deterministic.errors import ResumeMismatchError

from ..ids import without_address
from .datasets import Draws, InBatches, Stream, batches, epochs
from .test_ranks import global_batches, on_each_rank

LENGTH, BLOCK = 50, 7


def over(dataset: Any = None, **arguments: Any) -> Any:
    dataset = Draws(LENGTH) if dataset is None else dataset
    return make_loader(dataset, **{"batch_size": 8, "shuffle": "blocks", "block_size": BLOCK, "seed": 7, **arguments})


def blocks_of(epoch: list[Any]) -> list[int]:
    """Return in which order the blocks come, and check that each is there as a whole."""
    indices = [int(row[0]) for batch in epoch for row in batch]
    assert sorted(indices) == list(range(LENGTH))
    blocks = [index // BLOCK for index in indices]
    order = [block for place, block in enumerate(blocks) if place == 0 or block != blocks[place - 1]]
    assert sorted(order) == list(range(-(-LENGTH // BLOCK))), "no block is left before its end, and come back to"
    return order


def test_neighbours_come_together_and_each_epoch_has_another_order_of_blocks() -> None:
    orders = [tuple(blocks_of(epoch)) for epoch in epochs(over(), 8)]
    assert len(set(orders)) == 8
    assert len({order.index(LENGTH // BLOCK) for order in orders}) > 3, "the short block is not always the last"


def test_within_a_block_the_samples_are_shuffled_anew_in_each_epoch() -> None:
    firsts = [[row[0] for batch in epoch for row in batch if row[0] < BLOCK] for epoch in epochs(over(), 2)]
    assert firsts[0] != firsts[1]
    assert sorted(firsts[0]) == sorted(firsts[1]) == list(range(BLOCK)) != firsts[0]


def test_a_batch_goes_over_from_one_block_into_the_next() -> None:
    assert [len(batch) for batch in epochs(over(), 1)[0]] == [8] * 6 + [2]


def test_a_block_larger_than_the_data_is_all_of_it() -> None:
    indices = [row[0] for batch in epochs(over(block_size=10**30), 1)[0] for row in batch]
    assert sorted(indices) == list(range(LENGTH)) != indices
    assert list(over([])) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_in_blocks_is_gone_on_with(workers: int) -> None:
    first, second = epochs(over())
    for done in (0, 3, 6):
        iterated = over()
        batches(iter(iterated), done)
        later = over(num_workers=workers)
        later.load_state_dict(iterated.state_dict())
        assert epochs(later) == [first[done:], second]


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_blocks(world_size: int) -> None:
    def make() -> Any:
        return make_loader(Draws(LENGTH), shuffle="blocks", block_size=BLOCK, seed=7, global_batch_size=8)

    (alone,) = epochs(make(), 1)
    seen = global_batches(on_each_rank(world_size, make))
    assert [batch[: len(one)] for batch, one in zip(seen, alone, strict=True)] == alone


@pytest.mark.parametrize("dataset", [Draws(LENGTH), InBatches(LENGTH)], ids=["one by one", "in batches"])
def test_samples_are_replayed(dataset: Any) -> None:
    iterated = over(dataset)
    for epoch, seen in enumerate(epochs(iterated)):
        for batch in seen:
            assert iterated.replay(epoch, int(batch[0][0])).tolist() == batch[0]


@pytest.mark.parametrize(
    ("other", "saved", "here"),
    [
        ({"block_size": 5}, "blocks of 7", "blocks of 5"),
        ({"shuffle": True, "block_size": None}, "blocks of 7", "shuffled"),
        ({"shuffle": None, "block_size": None}, "blocks of 7", "sequential"),
    ],
    ids=["size", "shuffled", "sequential"],
)
def test_a_state_of_another_order_is_refused_with_both(other: dict[str, Any], saved: str, here: str) -> None:
    for saving, loading, values in (({}, other, (saved, here)), (other, {}, (here, saved))):
        later = over(**loading)
        with pytest.raises(ResumeMismatchError, match="order or sampler: saved '{}', here '{}'".format(*values)):
            later.load_state_dict(over(**saving).state_dict())
        assert epochs(later, 1) == epochs(over(**loading), 1)


def test_the_report_says_how_long_the_blocks_are() -> None:
    with reproducible(3) as run:
        epochs(over(), 1)
    assert run.report().data["loaders"][0]["order"] == "blocks of 7"
    assert "blocks of 7" in str(run.report())


def test_its_sampler_is_a_distributed_one_that_shuffles() -> None:
    sampler = over().sampler
    assert isinstance(sampler, DistributedSampler)
    assert sampler.shuffle
    assert [int(row[0]) for batch in epochs(over(), 1)[0] for row in batch] == list(sampler)


def test_a_loader_like_a_plain_one_can_have_blocks() -> None:
    plain: Any = DataLoader(Draws(LENGTH), batch_size=8, shuffle=True)
    assert epochs(make_loader.like(plain, shuffle="blocks", block_size=BLOCK, seed=7)) == epochs(over())


def test_a_size_of_numpys_is_one() -> None:
    assert over(block_size=np.int64(BLOCK)).state_dict() == over().state_dict()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            {"block_size": None},
            TypeError,
            r"together with block_size=\n  shuffle: 'blocks'\n  block_size: None\nPass .*=1000",
        ),
        ({"shuffle": True}, TypeError, r"together with block_size=\n  shuffle: True\n  block_size: 7"),
        ({"shuffle": None}, TypeError, "together with block_size="),
        ({"shuffle": "block"}, TypeError, r"shuffle= is True or False, or \"blocks\".*\n  shuffle: 'block'"),
        ({"shuffle": "True", "block_size": None}, TypeError, "shuffle= is True or False"),
        ({"block_size": 0}, ValueError, r"block_size is below 1\n  found: 0"),
        ({"block_size": 2.0}, TypeError, r"block_size is not an integer\n  found: 2.0"),
        ({"block_size": True}, TypeError, "block_size is not an integer"),
        ({"block_size": "7"}, TypeError, "block_size is not an integer"),
        (
            {"randomness": "worker"},
            TypeError,
            r"block_size= cuts the loader's own order.*\n  block_size: 7\n  randomness: \"worker\"",
        ),
        (
            {"dataset": Stream()},
            TypeError,
            r"block_size= cuts the loader's own order.*\n  block_size: 7\n  dataset: an IterableDataset",
        ),
        ({"sampler": [1, 2]}, ValueError, "shuffle and sampler are two orders"),
        ({"shuffle": None, "sampler": [1, 2]}, TypeError, "together with block_size="),
        ({"block_size": None, "blocksize": 7}, TypeError, "Write block_size=7"),
    ],
    ids=without_address,
)
def test_what_makes_no_blocks_is_refused_before_a_seed_is_drawn(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    given = {"dataset": Draws(), "batch_size": 8, "shuffle": "blocks", "block_size": 7, **arguments}
    with pytest.raises(error, match=said):
        make_loader(**{name: value for name, value in given.items() if value is not None}, generator=generator)
    assert torch.equal(generator.get_state(), before)
