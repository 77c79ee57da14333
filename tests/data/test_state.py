"""Saving and resuming an own order: the rest of the epoch, bit for bit, whatever the workers."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deterministic import make_loader, reproducible
from deterministic.errors import ResumeMismatchError

from ..ids import without_address
from ..properties import examples
from .datasets import Draws, batches, epochs, loader

BATCHES = 7  # 50 samples, 8 a batch


def resumed(state: Any, **arguments: Any) -> Any:
    """Return a new loader at a state that has been through JSON."""
    later = loader(**arguments)
    later.load_state_dict(json.loads(json.dumps(state)))
    return later


@pytest.mark.parametrize(("saving", "loading"), [(0, 0), (0, 2), (2, 0), (1, 2)])
@pytest.mark.parametrize("done", [0, 1, 3, BATCHES - 1, BATCHES])
def test_the_rest_of_the_epoch_and_the_next_are_bit_identical(done: int, saving: int, loading: int) -> None:
    first, second = epochs(loader())
    iterated = loader(num_workers=saving)
    iterator = iter(iterated)
    assert batches(iterator, done) == first[:done]
    later = resumed(iterated.state_dict(), num_workers=loading)
    assert epochs(later) == [first[done:], second]


@settings(max_examples=examples(0.5))
@given(st.lists(st.integers(0, BATCHES + 1), min_size=1, max_size=6), st.sampled_from([None, 1, 8, 50]))
def test_any_chain_of_interruptions_gives_the_same_batches(stops: list[int], size: int | None) -> None:
    arguments: dict[str, Any] = {"batch_size": size}
    expected = [batch for epoch in epochs(loader(**arguments), 7) for batch in epoch]
    seen: list[Any] = []
    iterated = loader(**arguments)
    for stop in stops:
        iterator = iter(iterated)
        for _ in range(stop):
            batch = next(iterator, None)
            if batch is None:
                break
            seen.append(batch.tolist())
        iterated = resumed(iterated.state_dict(), **arguments)
    assert seen == expected[: len(seen)]


def test_the_place_is_that_of_the_batches_yielded_not_of_those_fetched_ahead() -> None:
    iterated = loader(num_workers=2, prefetch_factor=3)
    iterator = iter(iterated)
    next(iterator)
    assert iterated.state_dict()["done"] == 8


def test_no_data_is_loaded_again() -> None:
    class Counting(Draws):
        loaded = 0

        def __getitem__(self, index: int) -> torch.Tensor:
            self.loaded += 1
            return super().__getitem__(index)

    iterated = loader()
    batches(iter(iterated), 5)
    dataset = Counting()
    later = loader(dataset)
    later.load_state_dict(iterated.state_dict())
    epochs(later, 1)
    assert dataset.loaded == 50 - 5 * 8


def test_after_the_last_batch_the_epoch_is_not_over_until_the_loop_has_ended() -> None:
    _, second, third = epochs(loader(), 3)
    iterated = loader()
    iterator = iter(iterated)
    batches(iterator, BATCHES)
    at_the_last = iterated.state_dict()
    assert list(iterator) == []
    after_the_loop = iterated.state_dict()
    # Killed before the end of the epoch's tail (evaluation, say): the same epoch again, with no batches left.
    assert epochs(resumed(at_the_last)) == [[], second]
    assert resumed(at_the_last).epoch == 0
    assert epochs(resumed(after_the_loop)) == [second, third]
    assert (after_the_loop["epoch"], after_the_loop["done"]) == (1, 0)


def test_set_epoch_of_the_loaded_epoch_keeps_the_place_and_of_another_does_not() -> None:
    first, second = epochs(loader())
    iterated = loader()
    batches(iter(iterated), 3)
    saved = iterated.state_dict()
    later = resumed(saved)
    for epoch, expected in [(later.epoch, first[3:]), (1, second), (0, first)]:
        later.set_epoch(epoch)
        assert epochs(later, 1) == [expected]
    later = resumed(saved)
    later.set_epoch(1)
    assert epochs(later, 1) == [second]


def test_after_a_break_the_place_is_kept_until_set_epoch_gives_it_up() -> None:
    _, second = epochs(loader())
    iterated = loader()
    for number, _ in enumerate(iterated):
        if number == 2:
            break
    assert iterated.state_dict()["done"] == 24
    iterated.set_epoch(1)
    assert (iterated.state_dict()["epoch"], iterated.state_dict()["done"]) == (1, 0)
    assert epochs(iterated, 1) == [second]


def test_a_loaded_state_can_be_saved_again_before_anything_is_iterated() -> None:
    iterated = loader()
    batches(iter(iterated), 3)
    saved = iterated.state_dict()
    assert resumed(saved).state_dict() == saved


def test_a_loader_goes_back_in_place_also_with_persistent_workers() -> None:
    first, second = epochs(loader())
    iterated = loader(num_workers=2, persistent_workers=True)
    epochs(iterated, 1)
    iterator = iter(iterated)
    batches(iterator, 2)
    saved = iterated.state_dict()
    batches(iterator, 3)
    iterated.load_state_dict(saved)
    assert epochs(iterated, 1) == [second[2:]]
    iterated.set_epoch(0)
    assert epochs(iterated, 1) == [first]


def test_a_state_is_small_and_plain() -> None:
    iterated = make_loader(range(10**6), 64, shuffle=True, seed=2**32 - 1)
    iterator = iter(iterated)
    for _ in range(1000):
        next(iterator)
    state = iterated.state_dict()
    assert {type(value) for value in state.values()} == {int, str}
    assert len(pickle.dumps(state)) < 100
    assert len(json.dumps(state, separators=(",", ":"))) < 100


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seed": 8}, "seed: saved 7, here 8"),
        ({"dataset": Draws(51)}, "length of the dataset: saved 50, here 51"),
        ({"batch_size": 5}, r"saved: 8\n  here: 5"),
        ({"shuffle": False}, "order or sampler: saved 'shuffled', here 'sequential'"),
        ({"drop_last": True}, "drop_last: saved False, here True"),
        ({"sampler": torch.utils.data.SequentialSampler(Draws())}, "saved 'shuffled', here 'SequentialSampler'"),
    ],
    ids=without_address,
)
def test_a_state_of_another_loader_is_refused_with_both_values(arguments: dict[str, Any], named: str) -> None:
    iterated = loader()
    batches(iter(iterated), 2)
    other = loader(**arguments)
    before = other.state_dict()
    with pytest.raises(ResumeMismatchError, match=named):
        other.load_state_dict(iterated.state_dict())
    assert other.state_dict() == before


def test_a_state_that_dropped_the_last_batch_is_refused_by_a_loader_that_does_not() -> None:
    saved = loader(drop_last=True).state_dict()
    with pytest.raises(ResumeMismatchError, match="drop_last: saved True, here False"):
        loader().load_state_dict(saved)


def test_all_differences_are_named_at_once() -> None:
    saved = loader(Draws(9), seed=8).state_dict()
    with pytest.raises(ResumeMismatchError) as caught:
        loader().load_state_dict(saved)
    assert "length of the dataset: saved 9, here 50" in str(caught.value)
    assert "seed: saved 8, here 7" in str(caught.value)


@pytest.mark.parametrize(
    "state", [None, [], {}, {"v": 99}, {"version": 1}, {"v": 1}, "text"], ids=lambda state: repr(state)
)
def test_what_is_no_state_is_refused(state: Any) -> None:
    with pytest.raises(ResumeMismatchError):
        loader().load_state_dict(state)


def test_a_state_of_a_version_whose_samples_drew_other_numbers_is_refused() -> None:
    iterated = loader()
    saved = {**iterated.state_dict(), "v": 1}
    with pytest.raises(
        ResumeMismatchError, match=r"drew other numbers and came in another order\n  saved with: 'v': 1"
    ):
        iterated.load_state_dict(saved)
    assert iterated.state_dict() == {**saved, "v": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch", None), ("batch", "8"), ("batch", 0), ("done", 7), ("done", 10**9)],
)
def test_a_damaged_state_is_refused(name: str, value: Any) -> None:
    iterated = loader()
    for state in ({**iterated.state_dict(), name: value}, _without(iterated.state_dict(), name)):
        with pytest.raises(ResumeMismatchError, match="no place"):
            iterated.load_state_dict(state)


@pytest.mark.parametrize("name", ["digest", "generators", "sampler"])
def test_a_damaged_state_of_a_sampler_is_refused(name: str) -> None:
    iterated = loader(sampler=[1, 2, 3])
    with pytest.raises(ResumeMismatchError, match=rf"no place[\s\S]*{name}: 'missing'"):
        iterated.load_state_dict(_without(iterated.state_dict(), name))


def _without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def test_what_becomes_of_a_state_afterwards_does_not_matter() -> None:
    first, _ = epochs(loader(sampler=[1, 2, 3] * 8))
    iterated = loader(sampler=[1, 2, 3] * 8)
    batches(iter(iterated), 1)
    state = iterated.state_dict()
    later = loader(sampler=[1, 2, 3] * 8)
    later.load_state_dict(state)
    later.state_dict()["generators"].append("spoilt")
    state.clear()
    assert epochs(later, 1) == [first[1:]]


@pytest.mark.parametrize(("name", "value"), [("done", -1), ("done", "3"), ("epoch", None), ("epoch", 1.5)])
def test_a_state_that_says_no_place_is_refused(name: str, value: Any) -> None:
    state = {**loader().state_dict(), name: value}
    with pytest.raises(ResumeMismatchError, match="no place"):
        loader().load_state_dict(state)


def test_a_batch_size_that_only_more_ranks_could_explain_is_refused_at_the_first_batch() -> None:
    iterated = loader(batch_size=8)
    batches(iter(iterated), 2)
    later = loader(batch_size=4)
    later.load_state_dict(iterated.state_dict())  # two ranks of 4 may be on their way
    with pytest.raises(ResumeMismatchError, match=r"saved: 8\n  here: 4"):
        iter(later)
    assert later.state_dict() == iterated.state_dict(), "nothing was lost"


def test_a_loader_without_a_seed_takes_that_of_the_state() -> None:
    with reproducible(seed=None, deterministic=False):
        torch.manual_seed(5)
        iterated = make_loader(Draws(), 8, shuffle=True)
        assert iterated.state_dict()["seed"] is None
        iterator = iter(iterated)
        batches(iterator, 2)
        saved, expected = iterated.state_dict(), [batch.tolist() for batch in iterator]
        later = make_loader(Draws(), 8, shuffle=True)
        later.load_state_dict(saved)
        assert epochs(later, 1) == [expected]
