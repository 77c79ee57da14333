"""A dataset that has a `set_epoch` is told the loader's epoch, wherever it lies and in whichever process it works."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, StackDataset, Subset, random_split

from deterministic import describe, make_loader
from deterministic.data.samples.dataset_epoch import DatasetEpoch, users_epoch

WORKERS = [{}, {"num_workers": 1}, {"num_workers": 2, "persistent_workers": True}]
SPAWNED = {"num_workers": 1, "multiprocessing_context": "spawn", "persistent_workers": True}


class Mixture(Dataset[torch.Tensor]):
    """Gives other samples in other epochs, and says which one it is."""

    def __init__(self, base: int = 0, length: int = 3) -> None:
        self.base = base
        self.length = length
        self.epoch = 0
        self.calls: list[int] = []

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        self.calls.append(epoch)
        self.epoch = epoch

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(self.base + 10 * self.epoch + index)


class Silent(Mixture):
    """Does not say which epoch it is."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        del self.epoch

    def set_epoch(self, epoch: int) -> None:
        self.calls.append(epoch)
        self.told = epoch

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(10 * self.told + index)


class Drawing(Mixture):
    """Draws which samples the epoch has."""

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.base = random.randrange(10**6) + 1000 * int(torch.randint(10**6, ()))


class Wrapper:
    """Somebody's own, without a base class."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


class Named(Wrapper):
    """Holds the dataset under another name."""

    def __init__(self, dataset: Any) -> None:
        self.source = dataset

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return self.source[index]


class Numbers(IterableDataset[int]):
    """A stream that moves its epoch by itself."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        start = 10 * self.epoch
        self.epoch += 1
        yield from range(start, start + 3)


def seen(loader: Any) -> list[int]:
    return [int(value) for batch in loader for value in torch.as_tensor(batch).reshape(-1)]


@pytest.mark.parametrize(
    ("kind", "workers"), [*((kind, w) for kind in (Mixture, Silent) for w in WORKERS), (Mixture, SPAWNED)], ids=str
)
def test_the_loader_tells_the_dataset_in_every_process(kind: type[Mixture], workers: dict[str, Any]) -> None:
    loader = make_loader(kind(), 2, seed=0, **workers)
    assert [seen(loader), seen(loader)] == [[0, 1, 2], [10, 11, 12]]
    loader.set_epoch(5)
    assert seen(loader) == [50, 51, 52]


@pytest.mark.parametrize("workers", WORKERS, ids=str)
def test_what_the_user_sets_is_the_epoch_of_the_loader(workers: dict[str, Any]) -> None:
    dataset = Mixture()
    loader = make_loader(dataset, 2, seed=0, **workers)
    for epoch in (4, 0, 7):
        dataset.set_epoch(epoch)
        assert seen(loader)[0] == 10 * epoch
    assert (loader.epoch, dataset.epoch) == (8, 7)


def around(dataset: Mixture) -> dict[str, tuple[Any, list[int]]]:
    """Return what can stand around a dataset, with its samples of epoch 0."""
    other = Mixture(1000, 1)
    return {
        "Subset": (Subset(dataset, [2, 0]), [2, 0]),
        "random_split": (random_split(dataset, [1, 2], torch.Generator().manual_seed(0))[1], []),
        "ConcatDataset": (ConcatDataset([other, dataset]), [1000, 0, 1, 2]),
        "StackDataset": (StackDataset(a=dataset, b=Subset(dataset, [0, 1, 2])), [0, 0, 1, 1, 2, 2]),
        "a class of one's own": (Wrapper(Wrapper(dataset)), [0, 1, 2]),
        "another name": (Named(Subset(dataset, [1])), [1]),
    }


@pytest.mark.parametrize("name", around(Mixture()))
def test_the_dataset_inside_of_others_is_told(name: str) -> None:
    dataset = Mixture()
    whole, first = around(dataset)[name]
    loader = make_loader(whole, 4, seed=0, collate_fn=list)
    found = [
        [int(v) for batch in loader for one in batch for v in (one.values() if isinstance(one, dict) else [one])]
        for _ in range(2)
    ]
    assert found[1] == [value + 10 for value in found[0]]
    assert found[0] == (first or found[0])
    assert dataset.calls == [0, 1]
    dataset.set_epoch(6)
    list(loader)
    assert loader.epoch == 7


def test_the_outermost_that_has_a_set_epoch_tells_the_others_itself() -> None:
    class Both(Wrapper):
        def set_epoch(self, epoch: int) -> None:
            self.dataset.set_epoch(epoch + 100)

    dataset = Mixture()
    assert seen(make_loader(Both(dataset), 3, seed=0)) == [1000, 1001, 1002]
    assert dataset.calls == [100]


def test_a_set_epoch_that_wants_more_than_a_number_is_not_called() -> None:
    class Asks(Mixture):
        def set_epoch(self, epoch: int, length: int) -> None:  # type: ignore[override]
            raise AssertionError

    class Optional(Mixture):
        def set_epoch(self, epoch: int, length: int = 3) -> None:
            super().set_epoch(epoch)

    loader = make_loader(Asks(), 3, seed=0)
    assert [seen(loader), seen(loader)] == [[0, 1, 2]] * 2
    loader = make_loader(Optional(), 3, seed=0)
    assert [seen(loader), seen(loader)] == [[0, 1, 2], [10, 11, 12]]


def test_it_is_told_once_an_epoch_and_again_where_another_loader_told_it_another() -> None:
    dataset = Mixture(length=6)
    one, other = make_loader(dataset, 1, seed=0), make_loader(dataset, 1, seed=0)
    first = iter(one)
    assert [int(next(first)), int(next(first))] == [0, 1]
    assert dataset.calls == [0]
    other.set_epoch(3)
    assert int(next(iter(other))) == 30
    assert int(next(first)) == 2
    assert dataset.calls == [0, 3, 0]
    assert (one.epoch, other.epoch) == (0, 3)


def test_an_iterator_that_waits_tells_the_epoch_that_is_pinned_meanwhile() -> None:
    loader = make_loader(Mixture(), 3, seed=0, num_workers=1, persistent_workers=True)
    waiting = iter(loader)
    loader.set_epoch(2)
    assert next(waiting).tolist() == [20, 21, 22]


def test_the_epoch_pinned_last_counts_whoever_pinned_it() -> None:
    dataset = Mixture()
    loader = make_loader(dataset, 3, seed=0)
    dataset.set_epoch(5)
    loader.set_epoch(2)
    assert seen(loader) == [20, 21, 22]
    loader.set_epoch(2)
    dataset.set_epoch(5)
    assert seen(loader) == [50, 51, 52]


def test_looking_shows_the_epoch_asked_for_and_puts_the_dataset_back() -> None:
    dataset = Mixture()
    loader = make_loader(dataset, 2, seed=0)
    assert int(loader.replay(7, 1)) == 71
    assert (dataset.epoch, loader.epoch) == (0, 0)
    seen(loader)
    seen(loader)
    assert int(loader.replay(0, 1)) == 1
    assert dataset.epoch == 1
    assert loader.peek().tolist() == [20, 21]
    loader.check()
    assert (dataset.epoch, loader.epoch) == (1, 2)
    dataset.set_epoch(4)  # not yet heard when the sample is made
    assert int(loader.replay(0, 1)) == 1
    assert (dataset.epoch, loader.epoch) == (4, 4)
    assert seen(loader) == [40, 41, 42]


@pytest.mark.parametrize("workers", [*WORKERS, SPAWNED], ids=str)
def test_what_set_epoch_draws_is_the_same_in_every_process_and_leaves_the_callers_generators(
    workers: dict[str, Any],
) -> None:
    alone = make_loader(Drawing(), 3, seed=0)
    wanted = [seen(alone), seen(alone)]
    assert wanted[0] != wanted[1]
    before = describe()
    loader = make_loader(Drawing(), 3, seed=0, **workers)
    assert [seen(loader), seen(loader)] == wanted
    assert int(loader.replay(0, 1)) == wanted[0][1]
    assert describe() == before
    assert seen(make_loader(Drawing(), 3, seed=1)) != wanted[0]


@pytest.mark.parametrize("look", [lambda loader: loader.peek(), lambda loader: loader.check()], ids=["peek", "check"])
def test_looking_puts_back_what_set_epoch_drew_from_the_loader_s_seed(look: Any) -> None:
    dataset = Drawing()
    loader = make_loader(dataset, 3, seed=7)
    wanted = [seen(loader), seen(loader)]
    base = dataset.base
    look(loader)
    assert (dataset.epoch, dataset.base) == (1, base)
    again = make_loader(Drawing(), 3, seed=7)
    look(again)
    assert [seen(again), seen(again)] == wanted


def test_a_resume_tells_the_epoch_that_goes_on() -> None:
    loader = make_loader(Mixture(), 1, seed=0)
    seen(loader)
    next(iter(loader))
    dataset = Mixture()
    resumed = make_loader(dataset, 1, seed=0)
    resumed.load_state_dict(loader.state_dict())
    dataset.set_epoch(1)
    assert seen(resumed) == [11, 12]


def test_a_dataset_that_counts_by_itself_does_not_take_the_loader_for_its_user() -> None:
    loader = make_loader(Numbers(), None, seed=0)
    iterator = iter(loader)
    next(iterator)
    assert loader.epoch == 0
    assert list(iterator) == [1, 2]
    assert list(loader) == [10, 11, 12]
    assert loader.epoch == 2


def test_one_that_says_another_epoch_than_it_is_told_says_nothing_of_its_user() -> None:
    class FromOne(Mixture):
        def set_epoch(self, epoch: int) -> None:
            super().set_epoch(epoch + 1)

    dataset = FromOne()
    loader = make_loader(dataset, 3, seed=0)
    assert [seen(loader), seen(loader)] == [[10, 11, 12], [20, 21, 22]]
    assert dataset.calls == [1, 2]
    assert users_epoch([dataset]) is None


def test_what_contains_itself_and_what_has_no_hash_are_told_too() -> None:
    class Unhashable(Mixture):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError

    outer = Wrapper(None)
    outer.datasets = [outer, Unhashable()]  # type: ignore[attr-defined]
    told = DatasetEpoch(outer)
    told.tell(3)
    told.tell(3)
    assert outer.datasets[1].calls == [3]  # type: ignore[attr-defined]


def test_a_dataset_without_epochs_is_told_nothing() -> None:
    assert DatasetEpoch([1, 2]).listeners == DatasetEpoch(torch.arange(3)).listeners == []
    assert DatasetEpoch(Wrapper("name")).listeners == []


class InSharedMemory(IterableDataset[int]):
    """Counts its passes where all processes see it, as mosaicml-streaming's datasets do, and has no `set_epoch`."""

    def __init__(self) -> None:
        self._next = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    @property
    def next_epoch(self) -> int:
        return int(self._next)

    @next_epoch.setter
    def next_epoch(self, epoch: int) -> None:
        self._next.fill_(epoch)

    def __iter__(self) -> Iterator[int]:
        epoch = self.next_epoch
        self.next_epoch = epoch + 1
        return iter(range(10 * epoch, 10 * epoch + 3))


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_one_that_counts_in_shared_memory_is_told_and_goes_on(workers: dict[str, Any]) -> None:
    loader = make_loader(InSharedMemory(), batch_size=None, seed=0, **workers)
    assert [*loader] == [0, 1, 2]
    state = loader.state_dict()
    for other in (loader, make_loader(InSharedMemory(), batch_size=None, seed=0, **workers)):
        other.load_state_dict(state)
        assert [*other] == [10, 11, 12]
        assert [*other] == [20, 21, 22]
