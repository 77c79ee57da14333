"""One sample: its own generator, making it again alone, and checking that it can be made again."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from deterministic import describe, make_loader, sample_rng
from deterministic.errors import DeterministicError

from ..ids import without_address
from .datasets import Draws, Explicit, InBatches, Stream, epochs, loader


@pytest.mark.parametrize("randomness", ["sample", "batch"])
def test_a_samples_own_generators_do_not_depend_on_draws_before_them(randomness: Any) -> None:
    plain = epochs(loader(Explicit(), randomness=randomness))
    assert epochs(loader(Explicit(before=3), randomness=randomness)) == plain
    assert epochs(loader(Explicit(), randomness=randomness, num_workers=2)) == plain
    rows = [tuple(row[1:]) for epoch in plain for batch in epoch for row in batch]
    assert len(set(rows)) == len(rows) == 100
    for library in range(3):
        assert len({row[library] for row in rows}) == len(rows)


def test_they_do_not_depend_on_the_batches_even_where_draws_are_keyed_per_batch() -> None:
    small, large = (
        {
            row[0]: row
            for batch in epochs(loader(Explicit(), randomness="batch", batch_size=size), 1)[0]
            for row in batch
        }
        for size in (3, 9)
    )
    assert small == large


def test_asked_again_a_samples_generator_goes_on_and_the_next_sample_has_another() -> None:
    class Twice(Draws):
        def __getitem__(self, index: int) -> torch.Tensor:
            assert sample_rng("numpy") is sample_rng()
            return torch.tensor([sample_rng().random(), sample_rng().random()], dtype=torch.float64)

    rows = [row for batch in epochs(loader(Twice()), 1)[0] for row in batch]
    assert len({value for row in rows for value in row}) == 2 * len(rows)


def test_replaying_a_sample_begins_its_generators_anew() -> None:
    iterated = loader(Explicit())
    assert torch.equal(iterated.replay(0, 3), iterated.replay(0, 3))


def test_a_batch_has_generators_too_while_it_is_collated() -> None:
    def collate(samples: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(samples) + sample_rng("python").random()

    assert epochs(loader(collate_fn=collate)) == epochs(loader(collate_fn=collate, num_workers=2))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_goes_on_after_another_loader_was_used_in_it(workers: int) -> None:
    class Nested(Explicit):
        def __getitem__(self, index: int) -> torch.Tensor:
            first = sample_rng().random()
            inside = [batch.sum().item() for batch in loader(Draws(3))]
            return torch.tensor([first, sample_rng().random(), random.random(), *inside], dtype=torch.float64)

    class Alone(Explicit):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.tensor([sample_rng().random(), sample_rng().random(), random.random()], dtype=torch.float64)

    nested, alone = (epochs(loader(dataset, num_workers=workers), 1)[0] for dataset in (Nested(), Alone()))
    assert [[row[:3] for row in batch] for batch in nested] == alone


def test_outside_of_a_sample_there_is_no_generator() -> None:
    epochs(loader(), 1)
    with pytest.raises(DeterministicError, match=r"no sample is being made[\s\S]*make_loader"):
        sample_rng("numpy")


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'jax'[\s\S]*'numpy', 'torch', 'python'"):
        sample_rng("jax")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("dataset", "arguments"),
    [
        (Draws(), {}),
        (Draws(), {"num_workers": 2}),
        (Draws(), {"shuffle": False, "batch_size": 9}),
        (Draws(), {"randomness": "batch"}),
        (Draws(), {"randomness": "batch", "batch_size": None}),
        (InBatches(), {}),
        (InBatches(), {"randomness": "batch", "drop_last": True}),
        (Draws(), {"batch_size": None}),
    ],
    ids=without_address,
)
def test_a_replayed_sample_is_the_one_that_training_saw(dataset: Any, arguments: dict[str, Any]) -> None:
    iterated = loader(dataset, **arguments)
    before = describe()
    for epoch, seen in enumerate(epochs(iterated)):
        for batch in (seen if iterated.is_batched else [seen])[:3]:
            for row in batch:
                assert iterated.replay(epoch, int(row[0])).tolist() == row
    assert describe() == before
    assert iterated.epoch == 2


def test_a_later_appearance_of_a_sample_can_be_replayed() -> None:
    iterated = loader(sampler=[4, 4, 4])
    rows = epochs(iterated, 1)[0][0]
    assert [iterated.replay(0, 4, occurrence).tolist() for occurrence in range(3)] == rows


def test_a_sample_of_a_samplers_batch_is_replayed_where_its_key_is_its_own() -> None:
    sampler = torch.utils.data.SequentialSampler(Draws())
    assert loader(sampler=sampler).replay(0, 3).tolist() == epochs(loader(sampler=sampler), 1)[0][0][3]
    with pytest.raises(ValueError, match="only the sampler knows the batch"):
        loader(sampler=sampler, randomness="batch").replay(0, 3)


def test_an_epoch_may_be_whatever_is_an_index() -> None:
    class Index:
        def __init__(self, number: int) -> None:
            self.number = number

        def __index__(self) -> int:
            return self.number

    made: Any = loader(InBatches())
    assert torch.equal(made.replay(Index(2), 3, Index(0)), made.replay(2, 3, 0))


def test_what_cannot_be_replayed_is_refused() -> None:
    with pytest.raises(TypeError, match="a stream has no indices"):
        loader(Stream()).replay(0, 1)
    with pytest.raises(ValueError, match="no batch of the epoch has it"):
        loader(InBatches()).replay(0, 50)
    dropping = loader(InBatches(), shuffle=None, drop_last=True)
    with pytest.raises(ValueError, match="no batch of the epoch has it"):
        dropping.replay(0, 49)
    with pytest.raises(ValueError, match="epoch is not a count"):
        loader().replay(-1, 0)
    with pytest.raises(ValueError, match="occurrence is not a count"):
        loader().replay(0, 0, "first")


def test_a_loader_over_a_plain_list_can_be_checked_and_replayed() -> None:
    iterated = make_loader([10, 20, 30], 2, seed=0)
    iterated.check()
    assert iterated.replay(0, 1) == 20
