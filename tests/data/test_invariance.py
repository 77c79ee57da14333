"""The promise of `make_loader`: the same bits whatever the workers, and the caller's generators left alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random.mtrand import get_bit_generator, set_bit_generator
from torch.utils.data import Subset, WeightedRandomSampler, random_split

from deterministic import describe, reproducible
from deterministic.data.samples import fetch

from ..ids import without_address
from ..processes import run_python
from .datasets import Draws, Explicit, InBatches, Stream, epochs, loader, mixing, spoil

REFERENCE: list[Any] = []


def reference() -> Any:
    """Return two epochs without workers, made once."""
    if not REFERENCE:
        REFERENCE.extend(epochs(loader()))
    return REFERENCE


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_workers": 1},
        {"num_workers": 2},
        {"num_workers": 4},
        {"num_workers": 2, "prefetch_factor": 1},
        {"num_workers": 2, "prefetch_factor": 5},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "worker_init_fn": spoil},
        {"num_workers": 1, "multiprocessing_context": "spawn"},
        {"num_workers": 2, "multiprocessing_context": "forkserver", "persistent_workers": True},
    ],
    ids=without_address,
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_samples_do_not_depend_on_the_workers(arguments: dict[str, Any]) -> None:
    assert epochs(loader(**arguments)) == reference()


def test_without_keys_they_would_depend_on_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "seed_generators", lambda key: None)
    assert epochs(loader(num_workers=2)) != reference()


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator")
@pytest.mark.parametrize("workers", [0, 1])
def test_samples_do_not_depend_on_pinning(workers: int) -> None:
    assert epochs(loader(num_workers=workers, pin_memory=True)) == reference()


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_do_not_depend_on_the_global_generators(workers: int) -> None:
    with reproducible(seed=123):
        assert epochs(loader(num_workers=workers)) == reference()


def test_samples_do_not_depend_on_another_bit_generator_behind_numpy() -> None:
    before = get_bit_generator()
    set_bit_generator(np.random.PCG64(1))
    try:
        assert epochs(loader()) == reference()
        assert epochs(loader(num_workers=1)) == reference()
        assert isinstance(get_bit_generator(), np.random.PCG64)
    finally:
        set_bit_generator(before)


@pytest.mark.usefixtures("warm_pythons")
def test_samples_are_the_same_in_a_process_with_another_hash_seed() -> None:
    code = "from tests.data.datasets import *; print(repr(epochs(loader(num_workers=1))))"
    assert run_python(code, PYTHONHASHSEED="0") == run_python(code, PYTHONHASHSEED="1") == repr(reference())


def test_samples_do_not_depend_on_the_batch_size_or_the_order() -> None:
    def by_index(**arguments: Any) -> dict[float, Any]:
        return {sample[0]: sample for batch in epochs(loader(**arguments), 1)[0] for sample in batch}

    expected = by_index()
    assert by_index(batch_size=3) == by_index(shuffle=False) == expected
    assert len(expected) == len(Draws())


def test_samples_come_one_by_one_where_batching_is_off() -> None:
    singles = epochs(loader(batch_size=None), 1)[0]
    assert sorted(singles) == sorted(sample for batch in reference()[0] for sample in batch)
    assert epochs(loader(batch_size=None, num_workers=2), 1)[0] == singles


def test_epochs_and_seeds_and_samples_draw_differently() -> None:
    first, second = reference()
    other = epochs(loader(seed=8), 1)[0]
    rows = [tuple(sample[1:]) for epoch in (first, second, other) for batch in epoch for sample in batch]
    assert len(set(rows)) == len(rows) == 3 * len(Draws())
    for library in range(6):
        assert len({row[library] for row in rows}) == len(rows), "one library draws the same twice"


def test_the_draws_of_the_libraries_are_not_each_others() -> None:
    rows = [sample for batch in reference()[0] for sample in batch]
    uniform = np.array([[row[1], row[3], row[5]] for row in rows])
    assert np.abs(np.corrcoef(uniform.T) - np.eye(3)).max() < 0.5
    assert not np.isin(uniform[:, 0], uniform[:, 1]).any()
    assert not np.isin(uniform[:, 1], uniform[:, 2]).any()


@pytest.mark.parametrize("randomness", ["sample", "batch"])
@pytest.mark.parametrize("dataset", [Draws(), InBatches(), Explicit()], ids=lambda dataset: type(dataset).__name__)
def test_collating_and_batched_datasets_do_not_depend_on_the_workers(dataset: Any, randomness: str) -> None:
    arguments: dict[str, Any] = {"dataset": dataset, "randomness": randomness, "collate_fn": mixing}
    alone, again, with_workers = (epochs(loader(num_workers=workers, **arguments)) for workers in (0, 0, 2))
    assert alone == again == with_workers
    assert alone[0] != alone[1]


def test_the_schemes_draw_differently_and_collating_is_apart_from_fetching() -> None:
    by_sample, by_batch = (epochs(loader(randomness=scheme), 1)[0] for scheme in ("sample", "batch"))
    assert [[row[0] for row in batch] for batch in by_sample] == [[row[0] for row in batch] for batch in by_batch]
    assert by_sample != by_batch
    rows = [tuple(row[1:]) for batch in by_batch for row in batch]
    assert len(set(rows)) == len(rows)


def test_a_subset_has_the_keys_of_its_samples_not_of_its_batches() -> None:
    # torch's Subset always has __getitems__, also over a dataset that makes its samples one by one.
    part = Subset(Draws(), range(20, 40))
    small, large = (
        {sample[0]: sample for batch in epochs(loader(part, batch_size=size), 1)[0] for sample in batch}
        for size in (3, 7)
    )
    assert small == large
    train, _ = random_split(Draws(), [30, 20], generator=torch.Generator().manual_seed(0))
    assert epochs(loader(train, num_workers=1)) == epochs(loader(train))
    assert fetch.makes_batches(Subset(InBatches(), [1, 2]))


def test_a_sample_that_comes_twice_in_an_epoch_draws_differently_each_time() -> None:
    sampler = WeightedRandomSampler([1.0] * 10, 100)
    rows = [tuple(row) for batch in epochs(loader(Draws(10), sampler=sampler), 1)[0] for row in batch]
    assert len({row[0] for row in rows}) <= 10
    assert len(set(rows)) == len(rows) == 100


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("dataset", [Draws(), Stream()], ids=["indices", "stream"])
def test_iterating_leaves_the_callers_generators_alone(dataset: Any, workers: int) -> None:
    with reproducible(seed=None, deterministic=False):
        np.random.randn()
        random.gauss(0, 1)
        torch.randn(())
        before = describe()
        iterated = loader(dataset, num_workers=workers)
        epochs(iterated)
        iterated.peek()
        next(iter(iterated))
        assert describe() == before


def test_an_iterator_that_outlives_its_scope_leaves_them_alone_too() -> None:
    with reproducible(3):
        iterator = iter(loader())
        first = next(iterator).tolist()
    before = describe()
    rest = [batch.tolist() for batch in iterator]
    assert describe() == before
    assert [first, *rest] == reference()[0]


def test_they_are_left_alone_when_the_dataset_raises() -> None:
    class Broken(Draws):
        def __getitem__(self, index: int) -> torch.Tensor:
            random.random()
            raise KeyError(index)

    before = describe()
    with pytest.raises(KeyError):
        next(iter(loader(Broken())))
    assert describe() == before


def test_training_draws_between_batches_are_what_they_would_be_without_a_loader() -> None:
    def train(workers: int) -> list[float]:
        with reproducible(5):
            return [torch.rand(()).item() for _ in loader(num_workers=workers)]

    with reproducible(5):
        by_hand = [torch.rand(()).item() for _ in range(7)]
    assert train(0) == train(1) == by_hand


class Sums(Draws):
    """A sum whose bits depend on the number of threads."""

    def __getitem__(self, index: int) -> torch.Tensor:
        values = torch.rand(400_000) * 1e3
        return torch.stack([values.sum(), torch.tensor(float(torch.get_num_threads()))])


@pytest.mark.parametrize(("threads", "method"), [(1, "fork"), (2, "forkserver")])
def test_arithmetic_has_the_same_number_of_threads_everywhere(threads: int, method: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = epochs(loader(Sums(4), batch_size=2, worker_threads=threads), 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    workers: dict[str, Any] = {"num_workers": 1, "multiprocessing_context": method}
    assert epochs(loader(Sums(4), batch_size=2, worker_threads=threads, **workers), 1) == alone
    assert {row[1] for batch in alone[0] for row in batch} == {float(threads)}


def test_several_threads_in_forked_workers_are_refused_since_they_would_hang() -> None:
    with pytest.raises(ValueError, match="OpenMP"):
        loader(worker_threads=2, num_workers=1, multiprocessing_context="fork")
    later = loader(worker_threads=2)
    later.num_workers = 1
    with pytest.raises(ValueError, match="OpenMP"):
        iter(later)
