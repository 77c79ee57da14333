"""IterableDataset: repeatable at a fixed number of workers, and resumed by the dataset's own state or by a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from deterministic import current_run, make_loader, reproducible
from deterministic.errors import ReplayWarning, ResumeMismatchError

from ..properties import covering
from .datasets import SeekableStream, Stream, batches, draws, epochs, loader, mixing


class Uneven(SeekableStream):
    """Gives the first worker less than the others."""

    def share(self) -> tuple[int, int, int]:
        start, stop, step = super().share()
        return (start, stop // 3 if start == 0 and step > 1 else stop, step)


class StartsOver(SeekableStream):
    """Is at its beginning again as soon as it has given all, as datasets that count for themselves are."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from super().__iter__()
        self.given = 0


class Walk:
    """An iterator that says where it is."""

    def __init__(self, length: int) -> None:
        self.at = 0
        self.length = length

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> torch.Tensor:
        if self.at == self.length:
            raise StopIteration
        self.at += 1
        return torch.tensor([float(self.at), *draws()], dtype=torch.float64)

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


class Walked(IterableDataset[torch.Tensor]):
    """Leaves it to its iterator to say where it is."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return Walk(22)


@pytest.mark.parametrize("randomness", ["sample", "batch"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stream_repeats_itself_at_the_same_number_of_workers(workers: int, randomness: Any) -> None:
    arguments: dict[str, Any] = {"num_workers": workers, "randomness": randomness, "collate_fn": mixing}
    first, second = epochs(loader(Stream(), **arguments))
    assert epochs(loader(Stream(), **arguments)) == [first, second]
    assert first != second
    if workers:
        kept = {**arguments, "persistent_workers": True, "prefetch_factor": 1}
        assert epochs(loader(Stream(), **kept)) == [first, second]
        if (workers, randomness) == (1, "sample"):
            kept["multiprocessing_context"] = "spawn"
            assert epochs(loader(Stream(), **kept)) == [first, second]


def test_a_stream_depends_on_the_number_of_workers_and_the_report_says_so() -> None:
    with reproducible(3):
        alone, with_two = (epochs(make_loader(Stream(), 8, num_workers=workers), 1)[0] for workers in (0, 2))
        notes = [entry["notes"] for entry in current_run().report().data["loaders"]]
    assert {row[0] for batch in alone for row in batch} == {row[0] for batch in with_two for row in batch}
    assert {tuple(row) for batch in alone for row in batch} != {tuple(row) for batch in with_two for row in batch}
    assert all("depend on num_workers" in note for (note,) in notes)


def test_no_two_samples_of_a_stream_draw_the_same() -> None:
    rows = [tuple(row[1:]) for epoch in epochs(loader(Stream(), num_workers=2), 3) for batch in epoch for row in batch]
    assert len(set(rows)) == len(rows) == 120


def test_ranks_draw_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        drawn.append(epochs(loader(Stream()), 1))
    assert drawn[0] != drawn[1]
    assert epochs(loader(Stream(), shard=False), 1) not in drawn


HOW: list[dict[str, Any]] = [
    {"num_workers": 0},
    {"num_workers": 3},
    {"num_workers": 2, "batch_size": None},
    {"num_workers": 2, "randomness": "batch"},
    {"num_workers": 0, "randomness": "batch"},
    {"num_workers": 2},
]


@pytest.mark.parametrize(
    ("dataset", "how"),
    covering([SeekableStream, Uneven, StartsOver, Walked], HOW),
    ids=lambda row: row.__name__ if isinstance(row, type) else str(row),
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_a_stream_that_says_where_it_is_goes_on_there(dataset: Any, how: dict[str, Any]) -> None:
    def new() -> Any:
        return loader(dataset(), **{"batch_size": 4, "collate_fn": None, **how})

    first, second, third = epochs(new(), 3)
    for done in (3, len(first)) if how["num_workers"] else (1, 3, len(first) - 1, len(first)):
        iterated = new()
        assert batches(iter(iterated), done) == first[:done]
        later = new()
        later.load_state_dict(json.loads(json.dumps(iterated.state_dict())))
        iterator = iter(later)
        assert batches(iterator, 1) == first[done : done + 1]
        again = new()
        again.load_state_dict(json.loads(json.dumps(later.state_dict())))
        expected = [first[done + 1 :], second] if done < len(first) else [second, third]
        assert epochs(again) == expected, "a resume of a resume"


def test_it_goes_on_with_persistent_workers_and_the_next_epoch_begins_with_the_first_of_them() -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "num_workers": 2, "persistent_workers": True}
    first, second, third = epochs(loader(SeekableStream(), **arguments), 3)
    iterated = loader(SeekableStream(), **arguments)
    batches(iter(iterated), 3)
    later = loader(SeekableStream(), **arguments)
    later.load_state_dict(iterated.state_dict())
    assert epochs(later, 3) == [first[3:], second, third]


def test_only_what_is_left_is_loaded() -> None:
    class Counted(SeekableStream):
        loaded = 0

        def __iter__(self) -> Iterator[torch.Tensor]:
            for sample in super().__iter__():
                self.loaded += 1
                yield sample

    iterated = loader(SeekableStream(), batch_size=4)
    batches(iter(iterated), 6)
    dataset = Counted()
    later = loader(dataset, batch_size=4)
    later.load_state_dict(iterated.state_dict())
    epochs(later, 1)
    assert dataset.loaded == 40 - 24


@pytest.mark.parametrize("workers", [0, 2])
def test_one_that_cannot_say_is_replayed_and_that_is_announced_with_its_cost(workers: int) -> None:
    first, second = epochs(loader(Stream(), num_workers=workers))
    iterated = loader(Stream(), num_workers=workers)
    batches(iter(iterated), 3)
    later = loader(Stream(), num_workers=workers)
    later.load_state_dict(iterated.state_dict())
    with pytest.warns(ReplayWarning, match="batches to load again: 3") as caught:
        iterator = iter(later)
    assert caught[0].filename == __file__
    assert [batch.tolist() for batch in iterator] == first[3:]
    assert epochs(later, 1) == [second]


@pytest.mark.parametrize("seen", [1, 3, 4])
def test_what_a_worker_says_at_its_end_is_no_batch_to_replay(seen: int) -> None:
    class FirstWorkerHasLess(Stream):
        def share(self) -> tuple[int, int, int]:
            start, stop, step = super().share()
            return (start, 2 * step if start == 0 else stop, step)

    arguments: dict[str, Any] = {"num_workers": 2, "persistent_workers": True, "batch_size": 2}
    one, other = (loader(FirstWorkerHasLess(12), **arguments) for _ in range(2))
    iterator = iter(one)
    for _ in range(seen):
        next(iterator)
    other.load_state_dict(one.state_dict())
    rest = batches(iterator, 9)
    with pytest.warns(ReplayWarning):
        assert batches(iter(other), 9) == rest
    assert batches(iter(other), 9) == batches(iter(one), 9)


def test_between_epochs_there_is_nothing_to_replay() -> None:
    _, second = epochs(loader(Stream()))
    iterated = loader(Stream())
    epochs(iterated, 1)
    later = loader(Stream())
    later.load_state_dict(iterated.state_dict())
    assert epochs(later, 1) == [second]


def test_a_state_from_another_number_of_workers_or_another_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = loader(SeekableStream(), num_workers=1).state_dict()
    with pytest.raises(ResumeMismatchError, match="num_workers: saved 1, here 2"):
        loader(SeekableStream(), num_workers=2).load_state_dict(saved)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ResumeMismatchError, match=r"rank: saved 0, here 1\n  world_size: saved 1, here 2"):
        loader(SeekableStream(), num_workers=1).load_state_dict(saved)


def test_a_number_of_workers_assigned_later_counts() -> None:
    expected = epochs(loader(SeekableStream(), num_workers=2))
    iterated = loader(SeekableStream())
    iterated.num_workers = iterated.prefetch_factor = 2
    iterator = iter(iterated)
    first = batches(iterator, 3)
    assert iterated.state_dict()["num_workers"] == 2
    later = loader(SeekableStream(), num_workers=2)
    later.load_state_dict(iterated.state_dict())
    assert [first + epochs(later, 1)[0], *epochs(later, 1)] == expected


def test_a_state_with_a_place_is_refused_by_a_dataset_that_cannot_seek() -> None:
    iterated = loader(SeekableStream())
    batches(iter(iterated), 2)
    with pytest.raises(ResumeMismatchError, match=r"cannot be put there[\s\S]*Stream without load_state_dict"):
        loader(Stream()).load_state_dict(iterated.state_dict())


def test_shuffling_a_stream_and_its_global_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="shuffle"):
        make_loader(Stream(), shuffle=True, seed=0)
    with pytest.raises(TypeError, match="an IterableDataset"):
        make_loader(Stream(), global_batch_size=4, seed=0)


def test_a_stream_longer_than_it_says_is_told_on_as_by_a_plain_loader() -> None:
    class Longer(Stream):
        def __len__(self) -> int:
            return 20

    iterated = loader(Longer(), batch_size=None)
    assert len(iterated) == len(DataLoader(Longer(), None)) == 20
    with pytest.warns(UserWarning, match="Length of IterableDataset"):
        epochs(iterated, 1)


def test_a_stream_without_a_length_says_so() -> None:
    iterated = loader(Walked())
    with pytest.raises(TypeError):
        len(iterated)
    assert len(list(iterated)) == len(list(iterated)) == 3
