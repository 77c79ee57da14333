"""`check_sampler`, `check_stream` and `check_dataset` pass what keeps the contract, and name what breaks it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, Dataset, IterableDataset, RandomSampler, get_worker_info

from deterministic.errors import NotReproducibleError, ResumeMismatchError
from deterministic.testing import check_dataset, check_sampler, check_stream
from tests.data.datasets import Draws, InBatches, SeekableStream, Stream


def test_samplers_that_keep_the_contract_are_exact_everywhere() -> None:
    def with_a_generator() -> RandomSampler:
        return RandomSampler(range(7), generator=torch.Generator().manual_seed(3))

    assert check_sampler(with_a_generator) == []
    assert check_sampler(lambda: BatchSampler(with_a_generator(), 2, False), is_batched=True, num_workers=0) == []


def test_streams_that_keep_the_contract_are_exact_everywhere() -> None:
    assert check_stream(lambda: Stream(7)) == []


def test_datasets_that_keep_the_contract_pass() -> None:
    check_dataset(lambda: Draws(5))
    check_dataset(lambda: InBatches(5))


class Hidden:
    """Draws once when it is made, and says nothing of it."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.order = random.Random(self.made).sample(range(8), 8)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


def test_a_sampler_that_is_another_one_each_time_is_named_with_both_orders() -> None:
    with pytest.raises(NotReproducibleError) as caught:
        check_sampler(Hidden)
    first, expected, found, differs, remedy = str(caught.value).splitlines()
    assert first == "iterated once more without workers: epoch 0 is another one"
    assert (expected.split(":")[0], found.split(":")[0]) == ("  expected", "  found")
    assert expected.split(":")[1] != found.split(":")[1]
    assert differs.startswith("  epochs[0][")
    assert "state_dict()" in remedy


class ForgetsItsShare(SeekableStream):
    """Says where it is in the numbers of all workers, and takes it for a place in its own."""

    def load_state_dict(self, state: dict[str, int]) -> None:
        super().load_state_dict({"given": max(state["given"] - 1, 0)})


def test_a_stream_that_goes_on_elsewhere_is_named_with_the_case() -> None:
    with pytest.raises(
        NotReproducibleError, match=r"^resumed within epoch 0 without workers: epoch 0 is another one\n"
    ):
        check_stream(lambda: ForgetsItsShare(8))


class OtherInWorkers(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(8) if get_worker_info() is None else [torch.Generator().seed() for _ in range(8)])


def test_every_kind_of_workers_is_tried() -> None:
    with pytest.raises(NotReproducibleError, match=r"^iterated once more with a worker: "):
        check_stream(lambda: OtherInWorkers())
    assert check_stream(lambda: OtherInWorkers(), num_workers=0) == []


def test_what_is_refused_is_returned_with_what_is_said() -> None:
    class Refused(IterableDataset[int]):
        def __init__(self) -> None:
            self.at = 0

        def __iter__(self) -> Iterator[int]:
            yield from range(8)

        def state_dict(self) -> dict[str, int]:
            return {"at": self.at}

        def load_state_dict(self, state: dict[str, int]) -> None:
            raise ResumeMismatchError("this cannot go on\n  found: it")

    told = check_stream(Refused, num_workers=0)
    assert "resumed within epoch 0: this cannot go on" in told
    assert not [line for line in told if "\n" in line or line.startswith(("iterated", "peeked at before"))]


@pytest.mark.parametrize("length", [0, 4])
def test_epochs_that_cannot_be_interrupted_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="too short to be interrupted"):
        check_sampler(lambda: range(length), num_workers=0)


class Counts(Dataset[Any]):
    """Numbers its samples as they are asked for."""

    def __init__(self) -> None:
        self.count = 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        self.count += 1
        return 10 * index + self.count


class KnowsWorkers(Counts):
    def __getitem__(self, index: int) -> int:
        return index if get_worker_info() is None else -index


def test_a_dataset_that_counts_is_named_with_the_sample() -> None:
    with pytest.raises(NotReproducibleError) as caught:
        check_dataset(Counts)
    assert str(caught.value).splitlines()[:4] == [
        "made in the reverse order: epoch 0 is another one",
        "  expected: [1, 12, 23, 34]",
        "  found: [4, 13, 22, 31]",
        "  epochs[0][0]: 1 and 4",
    ]


def test_a_dataset_that_is_another_one_in_workers_is_named() -> None:
    with pytest.raises(NotReproducibleError, match=r"^made with a worker: "):
        check_dataset(KnowsWorkers)
