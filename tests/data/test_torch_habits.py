"""What code that was written for torch's DataLoader does with a loader."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from deterministic import make_loader
from deterministic.data.engine import LoaderIterator

from ..ids import without_address

LASTING: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}


class Two:
    """Has the two methods, and no base class."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> float:
        return index / 2


def kept(loader: Any) -> Any:
    """Return what others find by its name."""
    return loader._iterator


def test_an_iterator_has_what_torchs_has() -> None:
    loader = make_loader(torch.arange(4), seed=0, num_workers=2)
    batches = iter(loader)
    next(batches)
    workers = batches._workers
    assert [worker.is_alive() for worker in workers] == [True, True]
    assert batches._num_workers == 2
    batches._shutdown_workers()
    assert [worker.is_alive() for worker in workers] == [False, False]
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = batches.nothing_of_the_kind


def test_an_iterator_that_is_copied_or_only_half_made_has_no_more_than_it_has() -> None:
    batches = iter(make_loader([1, 2], 1, seed=0))
    assert int(next(copy.copy(batches))) == 1
    empty = object.__new__(LoaderIterator)
    with pytest.raises(AttributeError, match="_workers"):
        _ = empty._workers
    with pytest.raises(AttributeError, match="_inner"):
        _ = empty._inner
    with pytest.raises(AttributeError, match="__deepcopy__"):
        _ = batches.__deepcopy__


def test_a_loader_has_its_latest_iterator_with_persistent_workers() -> None:
    numbers: Any = torch.arange(3)
    loader: Any
    for loader in (
        DataLoader(numbers, **LASTING, generator=torch.Generator()),
        make_loader(numbers, seed=0, **LASTING),
    ):
        assert kept(loader) is None
        worker: Any = None
        for _ in range(2):
            batches = iter(loader)
            assert kept(loader) is batches
            (worker,) = batches._workers
            assert len(list(batches)) == 3
            del batches
            assert kept(loader)._workers == [worker]
        kept(loader)._shutdown_workers()
        assert not worker.is_alive()
        loader._iterator = None
        assert kept(loader) is None
        assert len(list(loader)) == 3
        kept(loader)._shutdown_workers()


def test_a_held_iterator_does_not_count_as_held_because_the_loader_knows_it() -> None:
    loader: Any = make_loader(torch.arange(3), seed=0, **LASTING)
    for _ in loader:
        break
    assert kept(loader) is not None
    assert [int(batch) for batch in loader] == [0, 1, 2]
    kept(loader)._shutdown_workers()


def test_a_loader_without_persistent_workers_keeps_no_iterator() -> None:
    loader = make_loader(torch.arange(3), seed=0)
    batches = iter(loader)
    next(batches)
    assert kept(loader) is None
    assert kept(pickle.loads(pickle.dumps(loader))) is None


@pytest.mark.parametrize("randomness", ["sample", "worker"])
def test_the_fourth_argument_is_the_sampler(randomness: Any) -> None:
    loader: Any = make_loader(torch.arange(4), 2, None, [3, 1], seed=0, randomness=randomness)
    assert [batch.tolist() for batch in loader] == [[3, 1]]
    with pytest.raises(ValueError, match="two orders"):
        make_loader(torch.arange(4), 2, True, [3, 1], seed=0)


@pytest.mark.parametrize(
    ("dataset", "given"),
    [
        (Two(), [0.0, 0.5]),
        ([0.5, 1.5], [0.5, 1.5]),
        ((1, 2), [1, 2]),
        (torch.tensor([0.5, 1.5]), [0.5, 1.5]),
        (np.array([0.5, 1.5]), [0.5, 1.5]),
        ({0: 7, 1: 8}, [7, 8]),
        ("ab", ["a", "b"]),
    ],
    ids=without_address,
)
def test_a_dataset_is_what_has_items_and_a_length(dataset: Any, given: list[Any]) -> None:
    for loader in (make_loader(dataset, None, seed=0), DataLoader(dataset, None, generator=torch.Generator())):
        assert [value.item() if hasattr(value, "item") else value for value in loader] == given
    make_loader(dataset, seed=0).check()
