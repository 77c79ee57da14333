"""A loader, or several datasets, where `make_loader` wants one; and a plain DataLoader's settings taken over."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from deterministic import make_loader

from ..ids import without_address

make: Any = make_loader
plain: Any = DataLoader
DATA = torch.arange(10.0)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(5))


def test_a_loader_is_no_dataset() -> None:
    taken = DataLoader(TensorDataset(DATA), batch_size=2)
    with pytest.raises(TypeError, match=r"a DataLoader\nPass loader\.dataset, .*\.like\(loader\)"):
        make(taken)
    with pytest.raises(TypeError, match=r"Pass loader\.dataset, or use this one as it is: make_loader made it"):
        make(dataset=make_loader(DATA, seed=0))


def test_a_second_dataset_is_no_batch_size() -> None:
    for arguments in ({}, {"batch_size": 2}):
        with pytest.raises(TypeError, match=r"a Tensor and a Tensor\n.*TensorDataset\(x, y\), batch_size="):
            make(DATA, DATA, **arguments)
    with pytest.raises(ValueError, match="batch_size should be a positive integer"):  # torch's words for a number
        make(DATA, torch.tensor(5), seed=0)


def test_a_tuple_of_columns_is_no_dataset_and_one_of_samples_is() -> None:
    with pytest.raises(TypeError, match=r"a tuple of tensors\nPut .*TensorDataset\(x, y\)"):
        make((DATA, DATA), batch_size=4, seed=0)
    for samples in ((torch.zeros(2), torch.ones(2)), (DATA,), (torch.tensor(0), torch.tensor(1)), (DATA, DATA[1:])):
        assert len(list(make(samples, seed=0))) == len(samples)


@pytest.mark.parametrize("dataset", [None, zip(DATA, DATA, strict=True), (x for x in DATA), {1, 2}], ids=type)
@pytest.mark.parametrize("randomness", ["sample", "worker"])
def test_what_cannot_be_indexed_is_to_be_made_a_list(dataset: Any, randomness: str) -> None:
    with pytest.raises(TypeError, match=rf"found: a {type(dataset).__name__}\nPass a dataset, or a list: .*list\(zip"):
        make(dataset, seed=0, randomness=randomness)


@pytest.mark.parametrize("name", ["batch_size", "num_workers", "prefetch_factor", "timeout"])
def test_a_number_that_is_text_is_to_be_made_one(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name} is text\n  found: {name}='4'\n.*\nWrite {name}=int\('4'\)\.$"):
        make(DATA, seed=0, **{name: "4"})
    with pytest.raises(TypeError, match=r"batch_size=int\('4'\)"):
        make(DATA, "4", seed=0)


def test_of_a_mapping_of_datasets_one_is_to_be_chosen() -> None:
    splits = {"train": DATA, "test": DATA}
    with pytest.raises(TypeError, match=r"a dict of 'train', 'test'\nChoose .*make_loader\(dataset\['train'\]"):
        make(splits, batch_size=2, seed=0)
    assert len(list(make({0: 1.0, 1: 2.0}, seed=0))) == 2
    assert len(list(make({"a": 1.0, "b": 2.0}, seed=0, sampler=["b", "a"]))) == 2, "whose indices are the names"
    assert len(list(make({"a": 1.0}, 1, None, ["a"], seed=0))) == 1


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({"batchsize": 2}, "Write batch_size=2"),
        ({"bs": 2}, "Write batch_size=2"),
        ({"workers": 2}, "Write num_workers=2"),
        ({"random_seed": 2}, "Write seed=2"),
        ({"suffle": True}, "Write shuffle=True"),
        ({"colate_fn": len}, r"Write collate_fn=\.\.\."),
        ({"augment": True}, r"help\(deterministic.make_loader\)"),
    ],
    ids=without_address,
)
def test_an_argument_that_no_loader_has_is_told_when_the_loader_is_made(
    arguments: dict[str, Any], written: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    with pytest.raises(TypeError, match=written):
        make(DATA, generator=generator, **arguments)
    assert torch.equal(generator.get_state(), before), "it was refused before the seed was drawn"


def own(**arguments: Any) -> Any:
    return make_loader(DATA, seed=3, **arguments)


def batches(loader: Any) -> list[list[float]]:
    return [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in itertools.chain(loader, loader)]


def halves(samples: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(samples) / 2


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"batch_size": 4},
        {"batch_size": 4, "shuffle": True, "drop_last": True},
        {"batch_size": 4, "shuffle": True, "generator": torch.Generator()},
        {"batch_size": None},
        {"batch_size": None, "shuffle": True},
        {"batch_size": 4, "collate_fn": halves},
        {"batch_size": 3, "sampler": [5, 1, 3]},
        {"batch_sampler": [[1, 2], [5, 6, 7]]},
    ],
    ids=without_address,
)
def test_a_loader_like_a_plain_one_is_the_one_that_is_made_with_its_arguments(arguments: dict[str, Any]) -> None:
    like = make_loader.like(plain(DATA, **arguments), seed=3)
    arguments.pop("generator", None)
    assert batches(like) == batches(own(**arguments))


@pytest.mark.parametrize(
    "sampler",
    [
        RandomSampler(DATA, replacement=True),
        RandomSampler(DATA, num_samples=3),
        RandomSampler(DATA, generator=torch.Generator()),
        SequentialSampler(range(3)),
        SubsetRandomSampler([1, 2]),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_sampler_of_any_other_kind_stays_as_it_is(sampler: Any) -> None:
    assert make_loader.like(plain(DATA, sampler=sampler), seed=3).sampler is sampler


def test_what_is_for_workers_is_taken_over_and_not_without_any() -> None:
    taken = plain(
        DATA,
        num_workers=2,
        prefetch_factor=3,
        timeout=9,
        persistent_workers=True,
        multiprocessing_context="spawn",
        worker_init_fn=print,
    )
    like = make_loader.like(taken, seed=3)
    for name in ("num_workers", "prefetch_factor", "timeout", "persistent_workers", "worker_init_fn"):
        assert getattr(like, name) == getattr(taken, name)
    assert type(like.multiprocessing_context) is type(taken.multiprocessing_context)
    alone = make_loader.like(taken, seed=3, num_workers=0)
    assert len(batches(alone)) == 20


def test_an_argument_given_wins() -> None:
    takens = [plain(DATA, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    seeds = [make_loader.like(taken).seed for taken in takens]
    taken = takens[0]
    assert seeds[0] == seeds[1], "without a seed it is drawn from the loader's generator"
    assert batches(make_loader.like(taken, seed=3, shuffle=False)) == batches(own(batch_size=4))
    assert batches(make_loader.like(taken, seed=3, batch_size=None)) == batches(own(batch_size=None, shuffle=True))
    assert batches(make_loader.like(taken, seed=3, sampler=[1])) == [[1.0], [1.0]]
    assert batches(make_loader.like(taken, seed=3, batch_sampler=[[1, 2]])) == [[1.0, 2.0]] * 2
    assert batches(make_loader.like(taken, seed=3, global_batch_size=5)) == batches(own(batch_size=5, shuffle=True))


def test_a_stream_is_taken_over() -> None:
    like = make_loader.like(DataLoader(Stream(), batch_size=2, drop_last=True), seed=0)
    assert [batch.tolist() for batch in like] == [[0, 1], [2, 3]]


def test_what_cannot_be_taken_over_exactly_is_refused() -> None:
    batched = plain(DATA, batch_sampler=BatchSampler(SequentialSampler(range(10)), 3, drop_last=False))
    with pytest.raises(ValueError, match="shuffle and batch_sampler are two orders"):
        make_loader.like(batched, seed=0, shuffle=True)
    with pytest.raises(ValueError, match=r"in_order=False(.|\n)*Pass in_order=True"):
        make_loader.like(plain(DATA, in_order=False), seed=0)
    with pytest.raises(TypeError, match=r"Write batch_size=2"):
        make_loader.like(batched, batchsize=2)
    for wrong in (DATA, make_loader(DATA, seed=0)):
        with pytest.raises(TypeError, match=f"found: a {type(wrong).__name__}"):
            make_loader.like(wrong)  # type: ignore[arg-type]
