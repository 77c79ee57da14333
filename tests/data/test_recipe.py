"""`randomness="worker"`: the standard PyTorch recipe, for results that were published with it."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler

from deterministic import describe, make_loader, reproducible, seed_worker
from deterministic.data.samples.worker import SeedWorkerThen
from deterministic.ground.seeds import torch_seed


class Numbers(Dataset[Any]):
    """The index, and a draw of each library when `augment` is set."""

    def __init__(self, length: int = 10, *, augment: bool = False) -> None:
        self.length = length
        self.augment = augment

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> list[float]:
        if not self.augment:
            return [float(index)]
        return [float(index), random.random(), float(np.random.rand()), torch.rand(1).item()]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([random.random(), float(np.random.rand()), torch.rand(1).item()])


def epoch(loader: Any) -> list[Any]:
    return [torch.stack(batch).tolist() if isinstance(batch, list) else batch.tolist() for batch in loader]


def order(**arguments: Any) -> list[Any]:
    return epoch(recipe_loader(Numbers(), 3, True, **{"seed": 5, **arguments}))


def remember_seeds(worker_id: int) -> None:
    """Draw what `seed_worker` has seeded, and spoil it, so that the dataset's draws show the order of the two."""
    random.seed(random.random())
    np.random.seed(int(np.random.randint(2**31)))


def recipe_worker(worker_id: int) -> None:
    """Copied from https://docs.pytorch.org/docs/stable/notes/randomness.html#dataloader."""
    worker_seed = torch.initial_seed() % 2**32
    np.random.seed(worker_seed)
    random.seed(worker_seed)


def recipe(dataset: Any, seed: int, worker_init_fn: Callable[[int], None], **arguments: Any) -> DataLoader[Any]:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return DataLoader(dataset, worker_init_fn=worker_init_fn, generator=generator, **arguments)


def recipe_loader(dataset: Any, *arguments: Any, **named: Any) -> DataLoader[Any]:
    return make_loader(dataset, *arguments, randomness="worker", **named)


def test_it_is_a_plain_dataloader() -> None:
    assert type(recipe_loader(Numbers(), seed=5)) is DataLoader


@pytest.mark.parametrize("dataset", [Numbers(augment=True), Stream()], ids=["map", "iterable"])
def test_it_is_the_recipe_of_the_documentation_bit_for_bit(dataset: Any) -> None:
    arguments: dict[str, Any] = {"batch_size": 3, "num_workers": 2}
    if isinstance(dataset, Numbers):
        arguments["shuffle"] = True
    with reproducible(seed=None):
        ours = recipe_loader(dataset, seed=5, **arguments)
        by_hand = recipe(dataset, 5, recipe_worker, **arguments)
        assert epoch(ours) == epoch(by_hand)
        assert epoch(ours) == epoch(by_hand), "the second epoch"


def test_draws_in_the_main_process_are_those_of_the_scope() -> None:
    with reproducible(5):
        ours = epoch(recipe_loader(Numbers(augment=True), 3, True))
    with reproducible(5):
        assert ours == epoch(recipe(Numbers(augment=True), 5, recipe_worker, batch_size=3, shuffle=True))


def test_the_order_is_the_same_for_any_number_of_workers() -> None:
    expected = order()
    assert all(order(num_workers=workers) == expected for workers in (1, 2))
    assert order(num_workers=2, prefetch_factor=1, persistent_workers=True) == expected
    assert expected != [[[float(i)] for i in range(start, min(start + 3, 10))] for start in range(0, 10, 3)]


def test_the_same_seed_repeats_the_order_and_another_does_not() -> None:
    assert order() == order()
    assert order() != order(seed=6)
    assert order(seed=2**40) != order(seed=2**40 % 2**32)


def test_each_epoch_has_an_order_of_its_own() -> None:
    loader, again = (recipe_loader(Numbers(), shuffle=True, seed=5) for _ in range(2))
    epochs = [epoch(loader) for _ in range(3)]
    assert epochs == [epoch(again) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_workers_draw_different_numbers_from_every_library() -> None:
    drawn = epoch(recipe_loader(Numbers(4, augment=True), 1, num_workers=2, seed=5))
    for library in (1, 2, 3):
        assert len({repr(batch[library]) for batch in drawn}) == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_the_callers_generators_are_left_alone(workers: int) -> None:
    before = describe()
    order(num_workers=workers)
    assert describe() == before


def test_the_order_does_not_depend_on_the_callers_generators() -> None:
    with reproducible(1):
        first = order()
        torch.rand(3)
        assert order() == first
    with reproducible(2):
        assert order() == first


def test_in_a_scope_the_seed_is_the_scopes_unless_one_is_given() -> None:
    with reproducible(5):
        assert order(seed=5) == epoch(recipe_loader(Numbers(), 3, True))
        assert order(seed=6) != epoch(recipe_loader(Numbers(), 3, True))
    with reproducible(2**40):
        loader = recipe_loader(Numbers())
    assert loader.generator is not None
    assert loader.generator.initial_seed() == torch_seed(2**40)


def test_in_a_scope_without_a_seed_it_is_a_plain_dataloader_that_draws_from_torch() -> None:
    with reproducible(seed=None):
        loader = recipe_loader(Numbers(), 3, True)
        assert loader.generator is None
        assert loader.worker_init_fn is None
        torch.manual_seed(1)
        first = epoch(loader)
        torch.manual_seed(1)
        assert epoch(DataLoader(Numbers(), 3, True)) == first


def test_a_generator_of_the_callers_is_used_as_it_is() -> None:
    generator = torch.Generator().manual_seed(5)
    loader = recipe_loader(Numbers(), 3, True, generator=generator)
    assert loader.generator is generator
    assert loader.worker_init_fn is seed_worker
    assert epoch(loader) == order(seed=5)


def test_all_arguments_of_dataloader_are_passed_on() -> None:
    sampler = SequentialSampler(range(4))
    arguments: dict[str, Any] = {
        "sampler": sampler,
        "num_workers": 2,
        "collate_fn": list,
        "pin_memory": False,
        "drop_last": True,
        "timeout": 3,
        "multiprocessing_context": "spawn",
        "prefetch_factor": 4,
        "persistent_workers": True,
        "in_order": False,
    }
    loader = recipe_loader(Numbers(), 2, seed=5, **arguments)
    assert loader.multiprocessing_context is not None
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    assert {name: getattr(loader, name) for name in arguments if name != "multiprocessing_context"} == {
        name: value for name, value in arguments.items() if name != "multiprocessing_context"
    }
    batches = [[3, 1], [0]]
    assert epoch(recipe_loader(Numbers(), batch_sampler=batches, seed=5)) == [[[3.0, 1.0]], [[0.0]]]
    assert list(recipe_loader(Numbers(2), None, seed=5)) == [[0.0], [1.0]]


def test_a_worker_init_fn_of_the_users_runs_after_ours() -> None:
    arguments: dict[str, Any] = {"batch_size": 3, "num_workers": 1}

    def both(worker_id: int) -> None:
        recipe_worker(worker_id)
        remember_seeds(worker_id)

    ours = recipe_loader(Numbers(augment=True), seed=5, worker_init_fn=remember_seeds, **arguments)
    assert epoch(ours) == epoch(recipe(Numbers(augment=True), 5, both, **arguments))


def test_what_workers_run_is_picklable_for_spawn() -> None:
    loader = recipe_loader(Numbers(), seed=5, worker_init_fn=remember_seeds)
    copied = pickle.loads(pickle.dumps(loader.worker_init_fn))
    assert isinstance(copied, SeedWorkerThen)
    assert copied.worker_init_fn is remember_seeds
    assert pickle.loads(pickle.dumps(seed_worker)) is seed_worker


@pytest.mark.slow
def test_spawned_workers_draw_what_forked_ones_draw() -> None:
    arguments: dict[str, Any] = {"num_workers": 1, "seed": 5, "worker_init_fn": remember_seeds}
    forked, spawned = (
        epoch(recipe_loader(Numbers(3, augment=True), 3, True, multiprocessing_context=method, **arguments))
        for method in ("fork", "spawn")
    )
    assert forked == spawned
