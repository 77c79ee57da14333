"""`TrainerLoader`: a Trainer training that is killed within an epoch, and resumed, ends with the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from deterministic import make_loader, reproducible
from deterministic.errors import DeterministicError
from deterministic.integrations.transformers import TrainerLoader

from .children import Augmented, different, ends_of

Ends = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory, model_of_pythons: None) -> Ends:
    pytest.importorskip("transformers")
    return ends_of("transformers_training", tmp_path_factory.mktemp("transformers"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["exact", "workers", "sampler", "accumulated"])
def test_a_training_that_was_killed_ends_as_the_whole_one(ends: Ends, case: str) -> None:
    assert different({case: ends[case]}) == {}
    assert all(isinstance(end, dict) for end in ends[case].values())


@pytest.mark.slow
def test_the_workers_change_nothing(ends: Ends) -> None:
    assert ends["exact"]["None"] == ends["workers"]["None"]


@pytest.mark.slow
def test_trainers_own_loader_is_exact_between_two_epochs_and_not_within_one(ends: Ends) -> None:
    found = different(ends)
    assert "own 6" not in found
    assert {"model", "optimizer"} <= set(found["own 3"])
    assert {"model", "optimizer"} <= set(found["own workers 3"])


@pytest.mark.slow
def test_a_loader_that_trainer_builds_again_is_refused(ends: Ends) -> None:
    assert ends["bare"]["None"] == ends["exact"]["None"]
    assert different(ends)["bare 3"] == "it ended with 1"


class Stream(torch.utils.data.IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.zeros(8, 4))


@pytest.mark.parametrize(
    ("loader", "found"),
    [
        (torch.utils.data.DataLoader(Augmented(8)), "found: a DataLoader$"),
        (make_loader(Stream(), seed=0), "found: a ReproducibleDataLoader over an IterableDataset$"),
        ([1, 2], "found: a list$"),
    ],
    ids=["plain", "stream", "list"],
)
def test_a_loader_with_which_it_cannot_be_exact_is_refused(loader: Any, found: str) -> None:
    with pytest.raises(DeterministicError, match=rf"(?m){found}"):
        TrainerLoader(loader)


def ours(**arguments: Any) -> Any:
    return make_loader(Augmented(), seed=0, **{"batch_size": 4, "shuffle": True, **arguments})


def lists(batches: Any) -> list[Any]:
    with reproducible(seed=9):
        return [batch.tolist() for batch in batches]


def from_batch(loader: TrainerLoader, first: int, epoch: int) -> list[Any]:
    """Return the batches as Trainer gets them on a resume: of a loader that is built again around other numbers."""
    sampler: Any = loader.batch_sampler
    numbers = list(sampler)[first:]
    again = torch.utils.data.DataLoader(loader.dataset, batch_sampler=numbers, collate_fn=loader.collate_fn)
    sampler.set_epoch(epoch)
    return lists(again)


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize(
    "more", [{}, {"batch_size": None}, {"sampler": [*range(22)], "shuffle": None}], ids=["own", "one by one", "sampler"]
)
def test_it_gives_the_batches_of_the_loader_inside_from_anywhere_on(more: Any, first: int) -> None:
    plain = ours(**more)
    plain.set_epoch(2)
    assert from_batch(TrainerLoader(ours(**more)), first, 2) == lists(plain)[first:]


def test_epoch_after_epoch_it_is_the_loader_inside_and_moves_no_generator() -> None:
    loader, plain = TrainerLoader(ours(num_workers=1)), ours()
    for epoch in range(2):
        loader.set_epoch(epoch)
        assert [batch.tolist() for batch in loader] == lists(plain)
    assert len(loader) == len(plain)


def test_an_epoch_that_was_left_is_not_gone_on_with() -> None:
    loader = TrainerLoader(ours())
    loader.set_epoch(0)
    first = next(iter(loader)).tolist()
    loader.set_epoch(0)
    assert next(iter(loader)).tolist() == first
