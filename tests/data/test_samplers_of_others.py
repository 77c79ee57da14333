"""Samplers that others wrote: with a state that says its end, with generators made late, with a hidden memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler

from deterministic import reproducible
from deterministic.data.samples.keys import index_number
from deterministic.errors import NondeterminismWarning, ResumeMismatchError

from ..properties import covering
from .datasets import Draws, batches, epochs, loader
from .samplers import ALL, BATCHES, EXACT, HIDING, LENGTH, PLAIN, Base, Endless


def new(name: str, **arguments: Any) -> Any:
    made = {**ALL, **PLAIN}[name]()
    return loader(Draws(LENGTH), **made, **({} if "batch_sampler" in made else {"batch_size": 4}), **arguments)


def saved(iterated: Any) -> Any:
    return json.loads(json.dumps(iterated.state_dict()))


def resumed(name: str, state: Any, **arguments: Any) -> Any:
    later = new(name, **arguments)
    later.load_state_dict(state)
    assert saved(later) == state, "loaded, and not begun"
    return later


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("done", range(0, 4 * BATCHES, 3))
def test_it_goes_on_as_if_nobody_had_interrupted_it(name: str, done: int) -> None:
    whole = [batch for epoch in epochs(new(name), 5) for batch in epoch]
    iterated = new(name)
    epochs(iterated, done // BATCHES)
    iterator = iter(iterated) if done % BATCHES else iter(())
    batches(iterator, done % BATCHES)
    later = resumed(name, saved(iterated))
    iterator = iter(later)
    assert batches(iterator, 2) == whole[done:][:2][: BATCHES - done % BATCHES]
    again = resumed(name, saved(later))
    rest = [batch for epoch in epochs(again, 2) for batch in epoch]
    start = min(done + 2, (done // BATCHES + 1) * BATCHES)
    assert rest == whole[start:][: len(rest)]
    assert len(rest) >= BATCHES


@pytest.mark.parametrize(
    ("name", "workers"),
    covering([*EXACT], [{"num_workers": 1}, {"num_workers": 2, "persistent_workers": True}]),
    ids=str,
)
def test_workers_that_fetch_ahead_change_nothing(name: str, workers: dict[str, Any]) -> None:
    _, second, third = epochs(new(name), 3)
    iterated = new(name, **workers)
    epochs(iterated, 1)
    iterator = iter(iterated)
    assert batches(iterator, 2) == second[:2]
    state = saved(iterated)
    del iterator
    later = resumed(name, state, **workers)
    assert epochs(later, 2) == [second[2:], third]
    iterated.load_state_dict(state)
    assert epochs(iterated, 2) == [second[2:], third], "a loader that was used, too"


@pytest.mark.parametrize("name", ALL)
def test_what_follows_a_break_is_the_same_with_workers_and_after_a_resume(name: str) -> None:
    def taken(iterated: Any, counts: list[int]) -> Any:
        return [[batch.tolist() for batch in itertools.islice(iterated, count)] for count in counts]

    alone = new(name)
    expected = taken(alone, [2, 3, 9])
    if name in EXACT and name != "made once":  # a generator cannot be unmade
        assert taken(new(name, num_workers=2), [2, 3, 9]) == expected
    iterated = new(name)
    taken(iterated, [2, 3])
    iterated.set_epoch(2)
    if name in HIDING:
        with pytest.raises(ResumeMismatchError, match="of 3 batches of epoch 1"):
            taken(resumed(name, saved(iterated)), [9])
    else:
        assert taken(resumed(name, saved(iterated)), [9]) == expected[2:]


@pytest.mark.parametrize(("name", "workers"), covering([*ALL], [0, 1]))
def test_a_look_moves_nothing_whatever_it_remembers(name: str, workers: int) -> None:
    expected = epochs(new(name), 3)
    iterated = new(name, num_workers=workers)
    seen = []
    for epoch in range(3):
        assert iterated.peek().tolist() == expected[epoch][0]
        iterated.check(3)
        seen += epochs(iterated, 1)
    assert seen == expected


@pytest.mark.parametrize("name", HIDING)
def test_what_it_hides_is_right_after_one_epoch_and_refused_after_two(name: str) -> None:
    first, second, third = epochs(new(name), 3)
    iterated = new(name)
    assert epochs(resumed(name, saved(iterated)), 1) == [first]
    epochs(iterated, 1)
    assert epochs(resumed(name, saved(iterated)), 2) == [second, third]
    batches(iter(iterated), 1)
    assert epochs(resumed(name, saved(iterated)), 1) == [second[1:]]
    epochs(iterated, 1)
    with pytest.raises(ResumeMismatchError, match=r"digest 0x\w+ of 5 batches of epoch 2\n  here: 0x"):
        next(iter(resumed(name, saved(iterated))))
    batches(iter(iterated), 1)
    with pytest.raises(ResumeMismatchError, match=r"digest 0x\w+ of 1 batches of epoch 3\n  here: 0x"):
        next(iter(resumed(name, saved(iterated))))


@pytest.mark.parametrize("name", [*HIDING, "made once"])
def test_workers_that_fetched_ahead_of_a_break_are_told_of_where_that_cannot_be_undone(name: str) -> None:
    iterated = new(name, num_workers=1)
    batches(iter(iterated), 1)
    with pytest.warns(NondeterminismWarning, match=r"had fetched ahead[\s\S]*saved: digest[\s\S]*num_workers=0"):
        iterated.set_epoch(1)


def test_a_state_within_an_epoch_stands_for_more_than_its_first_indices() -> None:
    """A user who changes the sampler between epochs can give the last one no more, but enough of this one."""

    class Moved(Base):
        by = 0

        def __iter__(self) -> Iterator[int]:
            return iter((index + self.by) % LENGTH for index in self.order())

    def new_at(by: int) -> Any:
        sampler = Moved()
        sampler.by = by
        return sampler, loader(Draws(LENGTH), sampler=sampler, batch_size=4)

    sampler, iterated = new_at(0)
    epochs(iterated, 1)
    sampler.by = 5
    expected = [batch.tolist() for batch in iterated]
    for done in (1, 3):
        sampler, iterated = new_at(0)
        epochs(iterated, 1)
        sampler.by = 5
        batches(iter(iterated), done)
        _, later = new_at(5)
        later.load_state_dict(saved(iterated))
        if done == 1:
            with pytest.raises(ResumeMismatchError, match="of 5 batches of epoch 0"):
                next(iter(later))
        else:
            assert epochs(later, 1) == [expected[done:]]


@pytest.mark.parametrize(("name", "workers"), covering([*ALL, "plain"], [0, 1]))
def test_what_was_loaded_counts_also_where_another_epoch_is_set(name: str, workers: int) -> None:
    for done in (0, 2):
        iterated = new(name)
        if done:
            batches(iter(iterated), done)
        else:
            epochs(iterated, 1)
        state = saved(iterated)
        iterated.set_epoch(4)
        later = resumed(name, state, num_workers=workers)
        later.set_epoch(4)
        again = resumed(name, saved(later), num_workers=workers)
        expected = epochs(iterated, 1)
        assert epochs(later, 1) == expected
        assert epochs(again, 1) == expected


@pytest.mark.parametrize("name", [*ALL, "plain"])
def test_an_iterator_that_was_dropped_unasked_moves_nothing(name: str) -> None:
    iterated = new(name)
    epochs(iterated, 1)
    later = resumed(name, saved(iterated))
    for one in (iterated, later):
        iter(one)
    assert epochs(later, 1) == epochs(iterated, 1)


def test_one_without_an_end_is_resumed_and_left() -> None:
    def made(**arguments: Any) -> Any:
        return loader(Draws(LENGTH), sampler=Endless(), batch_size=4, **arguments)

    def taken(iterated: Any, count: int) -> Any:
        return [batch.tolist() for batch in itertools.islice(iterated, count)]

    expected = taken(made(), 30)
    iterated = made(num_workers=1)
    iterator = iter(iterated)
    batches(iterator, 7)
    for _ in range(2):
        later = made()
        later.load_state_dict(saved(iterated))
        iterator = iter(later)
        assert batches(iterator, 2) == expected[7:9]
    iterated.set_epoch(1)
    assert iterated.peek().tolist() == taken(iterated, 1)[0]


def test_a_state_of_before_is_taken_as_it_was() -> None:
    _, second = epochs(new("counts"))
    iterated = new("counts")
    epochs(iterated, 1)
    state = saved(iterated)
    assert state.pop("last")["epoch"] == 0
    later = new("counts")
    later.load_state_dict(state)
    assert epochs(later, 1) == [second]


@pytest.mark.parametrize(
    ("name", "value"), [("epoch", None), ("done", "3"), ("digest", None), ("ended", 1), ("generators", {})]
)
def test_a_damaged_account_of_the_last_epoch_is_refused(name: str, value: Any) -> None:
    iterated = new("resets")
    epochs(iterated, 1)
    state = saved(iterated)
    damaged: list[Any] = [{**state["last"], name: value}, {}, None, []]
    for last in damaged:
        with pytest.raises(ResumeMismatchError, match="no place"):
            iterated.load_state_dict({**state, "last": last})


def test_generators_of_other_kinds_are_refused_with_both() -> None:
    iterated = new("made anew")
    epochs(iterated, 1)
    state = saved(iterated)
    del state["last"]
    with pytest.raises(ResumeMismatchError, match=r"saved: \['Random'\]\n  here: \[\]"):
        new("made anew").load_state_dict(state)


def test_a_sampler_inside_a_batch_sampler_of_any_kind_is_told_the_epoch() -> None:
    class Reversed(BatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            return iter(list(super().__iter__())[::-1])

    def made() -> Any:
        inner: DistributedSampler[Any] = DistributedSampler(Draws(LENGTH), 2, 0)
        return inner, loader(Draws(LENGTH), batch_sampler=Reversed(inner, 4, False))

    first, second = epochs(made()[1])
    assert first != second
    inner, iterated = made()
    inner.set_epoch(1)
    assert epochs(iterated, 1) == [second]


class Curriculum(Base):
    """Each epoch has more of the data than the one before, by what it is told."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 8 + 4 * self.epoch

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng(self.epoch).permutation(len(self)).tolist()


class Counting(Curriculum):
    """The same, by what it counts and says itself."""

    set_epoch = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[int]:
        yield from super().__iter__()
        self.epoch += 1

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


class Batches(BatchSampler):
    """A batch sampler of the user's around it, whose length is counted in batches."""


@pytest.mark.parametrize(
    "sampling",
    [
        lambda: {"sampler": Curriculum(), "batch_size": 4},
        lambda: {"sampler": Counting(), "batch_size": 4},
        lambda: {"batch_sampler": Batches(Curriculum(), 4, False)},
    ],
    ids=["told", "counting", "batches"],
)
def test_one_whose_length_is_the_epochs_is_resumed_in_any_epoch(sampling: Callable[[], dict[str, Any]]) -> None:
    whole = epochs(loader(Draws(LENGTH), **sampling()), 4)
    assert [len(epoch) for epoch in whole] == [2, 3, 4, 5]
    for epoch, done in itertools.product((0, 1, 2), (0, 1)):
        iterated = loader(Draws(LENGTH), **sampling())
        epochs(iterated, epoch)
        iterator = iter(iterated) if done else None
        batches(iterator or (), done)
        later = loader(Draws(LENGTH), **sampling())
        later.load_state_dict(saved(iterated))
        assert epochs(later) == [whole[epoch][done:], whole[epoch + 1]]


def test_one_that_has_another_length_in_the_same_epoch_is_refused_by_its_indices() -> None:
    class Longer(Curriculum):
        def __len__(self) -> int:
            return super().__len__() + 1

    Longer.__name__ = "Curriculum"
    iterated = loader(Draws(LENGTH), sampler=Curriculum())
    batches(iter(iterated), 1)
    later = loader(Draws(LENGTH), sampler=Longer())
    later.load_state_dict(saved(iterated))
    with pytest.raises(ResumeMismatchError, match="does not repeat the indices"):
        next(iter(later))


@pytest.mark.parametrize(
    "order",
    [
        [np.array([1, 2]), np.array([3, 0]), np.array([1, 2])],
        [torch.tensor([1, 2]), torch.tensor([3, 0])],
        [torch.tensor(1.5), torch.tensor(2.5)],
        [np.float64(1.5), 2.5, 2**70],
        [np.array([], dtype=np.int64), torch.empty(0)],
        [np.array([1.5]), np.array(["a", "b"]), torch.ones(2, 2, dtype=torch.bfloat16)],
    ],
    ids=repr,
)
def test_indices_that_are_arrays_are_what_they_are_in_a_plain_loader(order: list[Any]) -> None:
    class Named(Draws):
        def __getitem__(self, index: Any) -> Any:
            return str(index), super().__getitem__(0).tolist()

    def made(batched: bool) -> Any:
        sampling = {"batch_sampler": [order, np.array([[1, 2], [3, 0]])]} if batched else {"sampler": order * 2}
        return loader(Named(LENGTH), collate_fn=list, **sampling, **({} if batched else {"batch_size": 2}))

    for batched in (False, True):
        expected = list(made(batched))
        plain: Any = torch.utils.data.DataLoader(
            Named(LENGTH), collate_fn=list, batch_sampler=made(batched).batch_sampler
        )
        with reproducible(seed=None, deterministic=False):
            named = [[name for name, _ in batch] for batch in plain]
        assert named == [[name for name, _ in batch] for batch in expected]
        drawn = [str(draws) for batch in expected for _, draws in batch]
        assert len(set(drawn)) == len(drawn)
        iterated = made(batched)
        batches_seen = next(iter(iterated))
        assert batches_seen == expected[0]
        later = made(batched)
        later.load_state_dict(saved(iterated))
        assert list(later) == expected[1:]
        assert later.replay(0, order[0]) == expected[0][0]


def test_a_batch_of_somebody_elses_type_is_known_by_what_is_in_it() -> None:
    class Cuts:
        """As lhotse's CutSet, whose repr says its length alone."""

        def __init__(self, *names: str) -> None:
            self.names = names

        def __len__(self) -> int:
            return len(self.names)

        def __iter__(self) -> Iterator[str]:
            return iter(self.names)

        def __contains__(self, name: object) -> bool:
            return name in self.names

        def __repr__(self) -> str:
            return f"Cuts(len={len(self)})"

    assert index_number(Cuts("a", "b")) == index_number(Cuts("a", "b"))
    assert len({index_number(Cuts(*names)) for names in ("ab", "ba", "ac", "a", "")}) == 5
