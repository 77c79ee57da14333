"""The ranks of a distributed run share each global batch: the same samples with the same bits at any number of them.

Most tests play the ranks one after the other in this process, through the variables that a launcher sets.
`test_launched_ranks.py` starts real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest

from deterministic import make_loader, reproducible
from deterministic.errors import DeterministicError, ResumeMismatchError, SeedError

from .datasets import Draws, epochs

GLOBAL = 8
"""Samples in a batch of all ranks together."""

Batches: TypeAlias = list[list[list[float]]]
"""The batches of an epoch, each a list of samples, each a list of its index and its draws."""

every_order = pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "sequential"])
every_world_size = pytest.mark.parametrize("world_size", [1, 2, 4])


@contextmanager
def as_rank(rank: int, world_size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", str(rank))
        patch.setenv("WORLD_SIZE", str(world_size))
        yield


def on_each_rank(world_size: int, make: Callable[[], Any], count: int = 1) -> list[Batches]:
    """Return what each rank sees in `count` epochs, one after the other, and check that its length is what it says."""
    seen = []
    for rank in range(world_size):
        with as_rank(rank, world_size):
            loader = make()
            length = len(loader)
            found = epochs(loader, count)
            assert [len(epoch) for epoch in found] == [length] * count, "len() is the number of steps"
            assert len(loader.sampler) == sum(map(len, found[0])), "the sampler's length is the number of samples"
        seen.append([batch for epoch in found for batch in epoch])
    return seen


def global_batches(seen: list[Batches]) -> Batches:
    """Put each step's batches of all ranks together, in the order of the ranks."""
    return [[sample for batch in step for sample in batch] for step in zip(*seen, strict=True)]


def over(length: int, size: int = GLOBAL, **arguments: Any) -> Any:
    """Make a loader with global batches."""
    return make_loader(Draws(length), **{"shuffle": True, "seed": 7, "global_batch_size": size, **arguments})


def alone(length: int, **arguments: Any) -> Batches:
    """Return what one process sees."""
    return epochs(over(length, **arguments), 1)[0]


@every_world_size
@every_order
def test_the_parts_of_the_ranks_are_the_batches_of_one_process(world_size: int, shuffle: bool) -> None:
    expected = [batch for epoch in epochs(over(40, shuffle=shuffle), 2) for batch in epoch]

    def sized() -> Any:
        return make_loader(Draws(40), GLOBAL // world_size, shuffle, seed=7)

    assert global_batches(on_each_rank(world_size, lambda: over(40, shuffle=shuffle), 2)) == expected
    assert global_batches(on_each_rank(world_size, sized, 2)) == expected
    assert len(expected) == 10
    assert expected[:5] != expected[5:]


def test_workers_on_the_ranks_change_nothing() -> None:
    assert global_batches(on_each_rank(2, lambda: over(42, num_workers=1))) == global_batches(
        on_each_rank(2, lambda: over(42))
    )


@every_world_size
@every_order
def test_what_does_not_fill_a_global_batch_is_dropped_on_every_rank(world_size: int, shuffle: bool) -> None:
    seen = on_each_rank(world_size, lambda: over(43, shuffle=shuffle, drop_last=True))
    assert global_batches(seen) == alone(43, shuffle=shuffle)[:5]
    assert {len(batch) for batches in seen for batch in batches} == {GLOBAL // world_size}


@pytest.mark.parametrize(("world_size", "filled"), [(1, 0), (2, 1), (4, 1)])
@every_order
def test_the_last_global_batch_is_filled_up_from_the_beginning(world_size: int, filled: int, shuffle: bool) -> None:
    expected = alone(43, shuffle=shuffle)
    seen = on_each_rank(world_size, lambda: over(43, shuffle=shuffle))
    assert {len(batches) for batches in seen} == {6}
    assert {len(batches[-1]) for batches in seen} == {(3 + filled) // world_size}
    found = global_batches(seen)
    assert found[:5] == expected[:5]
    assert found[5][:3] == expected[5]
    again, first = found[5][3:], expected[0][:filled]
    assert [sample[0] for sample in again] == [sample[0] for sample in first]
    loader = over(43)
    assert again == [loader.replay(0, int(sample[0]), occurrence=1).tolist() for sample in first]
    assert not {draw for sample in again for draw in sample[1:]} & {draw for sample in first for draw in sample[1:]}


@pytest.mark.parametrize("length", [1, 3])
def test_a_dataset_smaller_than_the_number_of_ranks_gives_each_one_sample(length: int) -> None:
    seen = on_each_rank(4, lambda: over(length))
    [batch] = global_batches(seen)
    assert [len(batches[0]) for batches in seen] == [1] * 4
    order = [sample[0] for sample in alone(length)[0]]
    assert [sample[0] for sample in batch] == (order * 4)[:4]
    assert len({tuple(sample[1:]) for sample in batch}) == 4, "a sample that comes again draws anew each time"
    loader = over(length)
    assert batch == [loader.replay(0, int(order[n % length]), occurrence=n // length).tolist() for n in range(4)]
    assert on_each_rank(4, lambda: over(length, drop_last=True)) == [[], [], [], []]


def test_samples_come_one_by_one_on_every_rank_where_batching_is_off() -> None:
    def make() -> Any:
        return make_loader(Draws(9), batch_size=None, shuffle=True, seed=7)

    seen: list[list[list[float]]] = []
    for rank in range(2):
        with as_rank(rank, 2):
            assert len(make()) == 5
            seen.append(epochs(make(), 1)[0])
    together = [sample for step in zip(*seen, strict=True) for sample in step]
    expected = epochs(make(), 1)[0]
    assert together[:9] == expected
    assert together[9][0] == expected[0][0]
    assert together[9] != expected[0]


@every_world_size
def test_the_batch_size_of_a_loader_is_that_of_its_rank(world_size: int) -> None:
    with as_rank(0, world_size):
        loader = over(40)
        assert loader.batch_size == loader.batch_sampler.batch_size == GLOBAL // world_size
        assert list(map(len, loader.batch_sampler)) == [GLOBAL // world_size] * 5


def test_the_ranks_are_looked_up_when_an_epoch_starts() -> None:
    loader = over(40)
    expected = epochs(over(40), 3)
    with as_rank(1, 4):
        assert epochs(loader, 1)[0] == [batch[2:4] for batch in expected[0]]
        assert loader.batch_size == 2
    with as_rank(0, 2):
        assert epochs(loader, 1)[0] == [batch[:4] for batch in expected[1]]
    assert epochs(loader, 1)[0] == expected[2]
    assert loader.batch_size == GLOBAL


def test_peeking_shows_the_rank_its_own_first_batch() -> None:
    for rank in range(2):
        with as_rank(rank, 2):
            loader = over(40)
            assert loader.peek().tolist() == epochs(loader, 1)[0][0]


def test_with_shard_false_every_rank_sees_everything() -> None:
    expected = alone(42)
    assert on_each_rank(2, lambda: over(42, shard=False)) == [expected, expected]
    assert on_each_rank(2, lambda: make_loader(Draws(42), GLOBAL, True, seed=7, shard=False)) == [expected, expected]


def test_a_global_batch_that_cannot_be_shared_equally_is_refused() -> None:
    loader = over(40)
    refusal = r"(?s)cannot be shared equally.*global_batch_size: 8.*world_size: 3"
    with as_rank(0, 3):
        with pytest.raises(ValueError, match=refusal):
            over(40)
        with pytest.raises(ValueError, match=refusal):
            iter(loader)
        with pytest.raises(ValueError, match=refusal):
            len(loader)
        assert len(over(40, shard=False)) == 5
    assert epochs(loader, 1)[0] == alone(40), "the refusal cost no epoch"


def test_a_batch_size_for_each_rank_and_one_for_all_exclude_each_other() -> None:
    with pytest.raises(TypeError, match=r"(?s)global_batch_size: 8.*batch_size: 4"):
        make_loader(Draws(40), 4, global_batch_size=8, seed=7)
    with pytest.raises(TypeError, match=r"(?s)global_batch_size: 8.*batch_size: None"):
        make_loader(Draws(40), batch_size=None, global_batch_size=8, seed=7)


@pytest.mark.parametrize(("rank", "world_size"), [(3, 2), (2, 2)])
def test_a_rank_that_cannot_be_is_refused(rank: int, world_size: int) -> None:
    loader = make_loader(Draws(40), 4, seed=7)
    with as_rank(rank, world_size):
        with pytest.raises(DeterministicError, match=f"(?s)RANK={rank}, WORLD_SIZE={world_size}.*0 <= RANK"):
            iter(loader)
        with pytest.raises(DeterministicError, match="RANK and WORLD_SIZE"):
            over(40)
        assert len(make_loader(Draws(40), 4, seed=7, shard=False)) == 10


def test_a_number_of_ranks_without_a_rank_is_refused_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Lightning's own launcher starts its children like this; they learn their rank with the process group.
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    loader = make_loader(Draws(40), global_batch_size=8, seed=7)
    with pytest.raises(DeterministicError, match="RANK=not set, WORLD_SIZE=2"):
        iter(loader)
    assert loader.epoch == 0


def saved_on(world_size: int, make: Callable[[], Any], steps: int) -> list[dict[str, Any]]:
    """Return the state that each rank saves in its second epoch, as it comes back from a file."""
    states = []
    for rank in range(world_size):
        with as_rank(rank, world_size):
            loader = make()
            epochs(loader, 1)
            iterator = iter(loader)
            for _ in range(steps):
                next(iterator)
            states.append(json.loads(json.dumps(loader.state_dict())))
    return states


def loaded(state: dict[str, Any], **arguments: Any) -> Any:
    loader = over(43, **arguments)
    loader.load_state_dict(state)
    return loader


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (1, 2), (2, 1), (4, 0)])
@pytest.mark.parametrize("steps", [0, 2, 5])
def test_what_four_ranks_saved_any_number_of_ranks_resumes(world_size: int, workers: int, steps: int) -> None:
    state, *others = saved_on(4, lambda: over(43), steps)
    assert others == [state] * 3, "every rank saves the same"
    second = epochs(over(43), 2)[1]
    rest = []
    for rank in range(world_size):
        with as_rank(rank, world_size):
            rest.append(epochs(loaded(state, num_workers=workers), 1)[0])
    found = global_batches(rest)
    assert found[:-1] == second[steps:-1]
    assert found[-1][:3] == second[-1]
    assert len(found[-1]) == {1: 3, 2: 4, 4: 4}[world_size]


def test_a_state_with_another_global_batch_is_refused() -> None:
    [state, _] = saved_on(2, lambda: over(43), 2)
    with pytest.raises(ResumeMismatchError, match=r"(?s)another global batch.*saved: 8.*here: 4"):
        loaded(state, size=4)
    with as_rank(0, 4), pytest.raises(ResumeMismatchError, match=r"(?s)saved: 8.*here: 12"):
        make_loader(Draws(43), 3, True, seed=7).load_state_dict(state)
    # 4 on each of two ranks is the same global batch, but here there is one: known only when the epoch starts.
    loader = make_loader(Draws(43), 4, True, seed=7)
    loader.load_state_dict(state)
    with pytest.raises(ResumeMismatchError, match=r"(?s)saved: 8.*here: 4"):
        iter(loader)
    with as_rank(0, 2):
        assert epochs(loader, 1)[0] == epochs(loaded(state), 1)[0], "the refusal moved nothing"


def test_with_a_seed_for_each_rank_the_loaders_still_share_one_order() -> None:
    def make() -> Any:
        with reproducible(seed=7, per_rank=True) as run:
            seeds.append(run.seed)
            return make_loader(Draws(40), global_batch_size=GLOBAL, shuffle=True)

    seeds: list[int | None] = []
    seen = on_each_rank(4, make)
    assert len(set(seeds)) == 4
    assert global_batches(seen) == alone(40)
    indices = [sample[0] for batches in seen for batch in batches for sample in batch]
    assert sorted(indices) == list(range(40)), "no sample twice, and none left out"


def test_without_a_seed_the_ranks_would_have_different_orders_so_it_is_refused() -> None:
    with reproducible(seed=None), as_rank(1, 2):
        loader, unshared = (make_loader(Draws(40), 4, True, shard=shard) for shard in (True, False))
        with pytest.raises(SeedError, match="no seed, 2 ranks"):
            iter(loader)
        assert len(epochs(unshared, 1)[0]) == 10
        with as_rank(0, 1):
            assert len(epochs(loader, 1)[0]) == 10, "alone it draws one"
