"""Streams without a state that hold an iterator: one that goes on with it is not begun anew when it is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, count, cycle, islice
from typing import Any

import pytest
from torch.utils.data import IterableDataset

from deterministic import make_loader
from deterministic.data.orders.upstream import _how_far
from deterministic.errors import ResumeMismatchError

WORKERS: list[dict[str, Any]] = [{"num_workers": 0}, {"num_workers": 1, "persistent_workers": True}]


class Held(IterableDataset[int]):
    """An epoch is the next five of an iterator that it holds."""

    def __init__(self, make: Callable[[], Iterator[int]]) -> None:
        self.numbers = make()

    def __iter__(self) -> Iterator[int]:
        return islice(self.numbers, 5)


class BegunAnew(IterableDataset[int]):
    """Is its own iterator, and begins each pass with a new one."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.numbers: Iterator[int] = iter([*range(5)])

    def __iter__(self) -> Iterator[int]:
        self.begin()
        return self

    def __next__(self) -> int:
        return next(self.numbers)


class BegunLate(BegunAnew):
    """The same in the body of a generator function, which begins with the first sample."""

    def __iter__(self) -> Iterator[int]:
        self.begin()
        yield from self.numbers


class Unused(BegunAnew):
    """Holds one that no pass moves."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(5))


def resumed_after_an_epoch(make: Callable[[], Any], **arguments: Any) -> tuple[list[Any], list[Any]]:
    """Return the second epoch of a loader, and what another one gives that is put where the first had ended."""
    loader = make_loader(make(), batch_size=None, seed=0, **arguments)
    assert len([*loader]) == 5
    state = json.loads(json.dumps(loader.state_dict()))
    other = make_loader(make(), batch_size=None, seed=0, **arguments)
    other.load_state_dict(state)
    return [*loader], [*other]


@pytest.mark.parametrize("arguments", WORKERS, ids=["no workers", "persistent"])
@pytest.mark.parametrize(
    ("make", "places"),
    [
        (count, "saved 'count(count(5))', here 'count(count(0))'"),
        (lambda: (number for number in range(9)), "saved 'generator(suspended"),
        (lambda: map(abs, chain(range(9))), r"range_iterator(4 left)))', here 'map(chain("),
        (lambda: iter(range(5)), "saved 'range_iterator(0 left)', here 'range_iterator(5 left)'"),
        (lambda: cycle(range(7)), "saved 'cycle(range_iterator(2 left))', here 'cycle(range_iterator(7 left))'"),
    ],
    ids=["count", "generator", "map", "used up", "cycle"],
)
def test_one_that_goes_on_with_an_iterator_is_refused_where_that_begins_anew(
    make: Callable[[], Iterator[int]], places: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ResumeMismatchError, match="not as it was when this epoch began") as caught:
        resumed_after_an_epoch(lambda: Held(make), **arguments)
    assert ".numbers: saved" in str(caught.value)
    if not arguments["num_workers"]:
        assert places in str(caught.value)


@pytest.mark.parametrize("arguments", WORKERS, ids=["no workers", "persistent"])
@pytest.mark.parametrize("make", [BegunAnew, BegunLate, Unused])
def test_one_that_begins_anew_in_each_pass_goes_on(make: Callable[[], Any], arguments: dict[str, Any]) -> None:
    expected, found = resumed_after_an_epoch(make, **arguments)
    assert found == expected == [*range(5)]


def test_one_that_was_moved_to_the_saved_place_goes_on() -> None:
    loader = make_loader(Held(count), batch_size=None, seed=0)
    assert [*loader] == [*range(5)]
    stream = Held(count)
    assert [*stream] == [*range(5)]
    other = make_loader(stream, batch_size=None, seed=0)
    other.load_state_dict(loader.state_dict())
    assert [*other] == [*loader] == [*range(5, 10)]


def test_a_place_is_shown_whatever_the_length_of_somebodys_own_raises() -> None:
    class Broken:
        def __len__(self) -> int:
            raise RuntimeError("not now")

        def __getitem__(self, index: int) -> int:
            return index

    assert _how_far(iter(Broken())) == "iterator()"
    assert _how_far(zip([1, 2], (3,), strict=False)) == "zip(list_iterator(2 left), tuple_iterator(1 left))"
