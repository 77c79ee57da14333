"""The loader's own order, and which epoch is next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler

from deterministic import current_run, make_loader, reproducible
from deterministic.errors import DeterministicError

from ..streams import line_above
from .datasets import Draws, SeekableStream, Stream, batches, epochs, loader


def order(iterated: Any) -> list[int]:
    return [int(index) for batch in iterated for index in batch]


def numbers(**arguments: Any) -> Any:
    return make_loader(range(12), **{"batch_size": 4, "shuffle": True, "seed": 42, **arguments})


def test_orders_are_these_for_good() -> None:
    iterated = numbers()
    assert [order(iterated), order(iterated)] == [FIRST, SECOND]


FIRST = [4, 9, 11, 3, 2, 1, 5, 0, 8, 7, 10, 6]
SECOND = [2, 7, 11, 9, 4, 5, 10, 3, 0, 8, 6, 1]


def test_every_epoch_has_every_index_once_in_an_order_of_its_own() -> None:
    iterated = numbers()
    orders = [order(iterated) for _ in range(5)]
    assert all(sorted(one) == list(range(12)) for one in orders)
    assert len({tuple(one) for one in orders}) == 5
    assert order(numbers(seed=43)) != orders[0]


def test_without_shuffling_the_order_is_the_datasets() -> None:
    iterated = numbers(shuffle=None)
    assert [order(iterated), order(iterated)] == [list(range(12))] * 2


def test_the_high_half_of_a_seed_counts() -> None:
    assert order(numbers(seed=42 + 2**32)) != order(numbers(seed=42))


def test_the_order_is_spread_evenly() -> None:
    iterated = numbers(batch_size=12)
    firsts = np.bincount([order(iterated)[0] for _ in range(1200)], minlength=12)
    assert firsts.min() > 60
    assert firsts.max() < 140


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 2]), (True, [5, 5])])
def test_the_last_batch_is_smaller_or_dropped(drop_last: bool, sizes: list[int]) -> None:
    iterated = numbers(batch_size=5, drop_last=drop_last)
    assert [len(batch) for batch in iterated] == sizes
    assert len(iterated) == len(sizes)


def test_an_empty_dataset_has_no_batches() -> None:
    iterated: Any = make_loader([], 4, shuffle=True, seed=0)
    assert len(iterated) == 0
    assert list(iterated) == []
    with pytest.raises(DeterministicError, match="no batch to peek at"):
        iterated.peek()


def test_a_dataset_that_grows_is_seen_grown_in_the_next_epoch() -> None:
    values = list(range(4))
    iterated = make_loader(values, 2, shuffle=True, seed=0)
    assert sorted(order(iterated)) == values
    values.extend([4, 5])
    assert len(iterated) == 3
    assert sorted(order(iterated)) == values


def test_it_is_a_dataloader_and_the_parts_are_the_users() -> None:
    dataset = Draws()
    iterated = loader(dataset)
    assert isinstance(iterated, DataLoader)
    assert iterated.dataset is dataset
    sampler = torch.utils.data.SequentialSampler(dataset)
    assert loader(dataset, sampler=sampler).sampler is sampler
    batch_sampler = BatchSampler(sampler, 2, False)
    assert loader(dataset, batch_sampler=batch_sampler).batch_sampler is batch_sampler


def test_its_own_sampler_gives_the_order_of_the_epoch_that_is_next() -> None:
    iterated = numbers(batch_size=5)
    assert isinstance(iterated.sampler, DistributedSampler), "frameworks must see that it needs no sharing out"
    assert list(iterated.sampler) == FIRST
    assert [len(batch) for batch in iterated.batch_sampler] == [5, 5, 2]
    assert len(iterated.sampler) == 12
    iterated.sampler.set_epoch(1)
    assert list(iterated.sampler) == SECOND == order(iterated)


def test_iter_advances_the_epoch_and_set_epoch_pins_the_next() -> None:
    first, second, third = epochs(loader(), 3)
    iterated = loader()
    assert iterated.epoch == 0
    iterated.set_epoch(2)
    assert iterated.epoch == 2
    assert epochs(iterated, 1) == [third]
    assert iterated.epoch == 3
    iterated.set_epoch(0)
    assert epochs(iterated, 2) == [first, second]
    for epoch, expected in enumerate([first, second, third]):
        iterated.set_epoch(epoch)
        assert epochs(iterated, 1) == [expected]


@pytest.mark.parametrize("arguments", [{}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_an_iterator_that_waits_for_its_first_batch_starts_at_the_epoch_that_is_set(arguments: dict[str, Any]) -> None:
    # Lightning resumes like this: iter() first, then set_epoch().
    expected = epochs(loader(), 5)
    iterated = loader(**arguments)
    iterator = iter(iterated)
    iterated.set_epoch(3)
    assert [batch.tolist() for batch in iterator] == expected[3]
    assert epochs(iterated, 1) == [expected[4]]


@pytest.mark.parametrize("workers", [{}, {"num_workers": 2}, {"num_workers": 1, "persistent_workers": True}], ids=str)
@pytest.mark.parametrize("name", ["own", "sampler", "stream"])
def test_an_iterator_that_waits_for_its_first_batch_starts_where_a_state_was_loaded(
    name: str, workers: dict[str, Any]
) -> None:
    def make() -> Any:
        drawn = RandomSampler(range(50), generator=torch.Generator().manual_seed(3))
        kinds: dict[str, dict[str, Any]] = {"own": {}, "sampler": {"sampler": drawn}, "stream": {}}
        return loader(SeekableStream() if name == "stream" else None, **kinds[name], **workers)

    whole = epochs(make())
    stopped = make()
    iterator = iter(stopped)
    seen = batches(iterator, 2)
    state = stopped.state_dict()
    del iterator

    iterated = make()
    waiting = iter(iterated)
    iterated.load_state_dict(state)
    assert iterated.state_dict() == state
    assert seen + [batch.tolist() for batch in waiting] == whole[0]
    assert [batch.tolist() for batch in iterated] == whole[1]


def test_an_iterator_that_was_dropped_or_outrun_does_not_use_up_the_epoch_that_is_set() -> None:
    first, second = epochs(loader())
    iterated = loader()
    iter(iterated)
    iterated.set_epoch(0)
    assert epochs(iterated) == [first, second]
    waiting = iter(iterated)
    iterated.set_epoch(0)
    assert epochs(iterated) == [first, second]
    assert [batch.tolist() for batch in waiting] == first


def test_a_waiting_iterator_keeps_the_place_it_was_loaded_at() -> None:
    first, second = epochs(loader())
    iterated = loader()
    batches(iter(iterated), 3)
    iterated.load_state_dict(iterated.state_dict())
    iterator = iter(iterated)
    iterated.set_epoch(0)
    assert [batch.tolist() for batch in iterator] == first[3:]
    assert epochs(iterated, 1) == [second]


@pytest.mark.parametrize(("epoch", "error"), [("1", TypeError), (1.0, TypeError), (True, TypeError), (-1, ValueError)])
def test_what_is_no_epoch_is_refused(epoch: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="epoch is"):
        loader().set_epoch(epoch)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("dataset", [Draws(), Stream()], ids=["indices", "stream"])
def test_peek_and_len_cost_no_epoch(dataset: Any, workers: int) -> None:
    expected = epochs(loader(dataset, num_workers=workers))
    iterated = loader(dataset, num_workers=workers)
    assert iterated.peek().tolist() == expected[0][0]
    assert len(iterated) > 0
    assert iterated.peek().tolist() == expected[0][0]
    assert epochs(iterated) == expected


def test_peek_shows_what_comes_next_after_a_load() -> None:
    iterated = loader()
    iterator = iter(iterated)
    next(iterator)
    saved, expected = iterated.state_dict(), next(iterator).tolist()
    iterated.load_state_dict(saved)
    assert iterated.peek().tolist() == expected
    assert next(iter(iterated)).tolist() == expected


def test_the_report_lists_loaders_and_their_epochs_also_one_that_a_look_has_cost() -> None:
    outside = loader(Draws(4))
    with reproducible(3) as run:
        inside = make_loader(Draws(16), 8)
        made_at = line_above()
        epochs(inside, 3)
        next(iter(inside))
        epochs(outside, 1)
        told = {entry["seed"]: entry for entry in run.report().data["loaders"]}
        text = str(run.report())
        html = run.report()._repr_html_()
    assert told[3]["made_at"] == made_at
    assert told[3]["epochs"] == [
        {"first": 0, "last": 2, "times": 1, "resumed": False, "batches": 2, "ended": True},
        {"first": 3, "last": 3, "times": 1, "resumed": False, "batches": 1, "ended": False},
    ]
    assert told[7]["order"] == "shuffled"
    assert "epochs 0-2: 2 batches each; epoch 3: 1 batch, not ended" in text
    assert "epochs 0-2: 2 batches each" in html


def test_the_report_stays_small_however_many_epochs_there_were() -> None:
    with reproducible(0):
        iterated = make_loader(Draws(2))
        for _ in range(300):
            next(iter(iterated))
        epochs(iterated, 300)
        found = current_run().report().data["loaders"][0]["epochs"]
    assert [(group["first"], group["last"], group["batches"]) for group in found] == [(0, 299, 1), (300, 599, 2)]


def test_nor_does_it_grow_with_epochs_that_are_repeated() -> None:
    with reproducible(0) as run:
        iterated = make_loader(Draws(2))
        for _ in range(50):
            iterated.set_epoch(0)
            epochs(iterated, 1)
        (entry,) = run.report().data["loaders"]
        assert "epoch 0, 50 times: 2 batches" in str(run.report())
    assert [group["times"] for group in entry["epochs"]] == [50]


def test_its_sampler_says_what_a_distributed_sampler_says() -> None:
    sampler = numbers(batch_size=5).sampler
    assert (sampler.rank, sampler.num_replicas, sampler.num_samples, sampler.total_size) == (0, 1, 12, 12)
    assert (sampler.epoch, sampler.seed, sampler.shuffle, sampler.drop_last) == (0, 42, True, False)
    assert list(sampler.dataset) == list(range(12))
