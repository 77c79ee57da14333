"""What a module is called with is cut into shards, and what it returns is put together, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from deterministic.distributed.reduction import tree_sum
from deterministic.distributed.shards import Batch, SameForAll, merged, names_of
from deterministic.errors import DeterministicError


def forward(tokens: Any, mask: Any = None, **more: Any) -> None:
    """What a batch is cut for."""


NAMES = names_of(forward)


def test_a_sum_goes_pair_by_pair_also_of_odd_numbers() -> None:
    numbers = torch.tensor([1e8, 1.0, -1e8, 1.0, 3.0])
    pairs = ((numbers[0] + numbers[1]) + (numbers[2] + numbers[3])) + numbers[4]
    assert torch.equal(tree_sum(numbers), pairs)
    assert not torch.equal(numbers.sum(), pairs) or numbers.sum() == 5
    assert torch.equal(tree_sum(numbers[:1]), numbers[0])


def test_every_tensor_with_a_row_for_each_sample_is_cut_wherever_it_is() -> None:
    rows, other = torch.arange(8), torch.arange(3)
    batch = Batch(NAMES, None, (rows, {"a": [rows + 10, other, 5]}), {"name": "x"})
    assert batch.rows == 8
    args, kwargs = batch.shard(1, 4)
    assert torch.equal(args[0], torch.tensor([2, 3]))
    assert torch.equal(args[1]["a"][0], torch.tensor([12, 13]))
    assert args[1]["a"][1] is other
    assert (args[1]["a"][2], kwargs) == (5, {"name": "x"})


def test_what_may_be_a_mask_is_asked_for_and_numbers_of_tokens_are_none() -> None:
    tokens, mask = torch.zeros(4, 4, dtype=torch.int64), torch.ones(4, 4, dtype=torch.bool)
    with pytest.raises(DeterministicError, match="found: mask: 4 x 4, 4 samples"):
        Batch(NAMES, None, (tokens, mask), {})
    with pytest.raises(DeterministicError, match=r"shared=\['more'\]"):
        Batch(NAMES, None, (tokens,), {"more": mask})
    shared, cut = Batch(NAMES, ["mask"], (tokens, mask), {}), Batch(NAMES, [], (tokens, mask), {})
    assert shared.shard(0, 2)[0][1] is mask
    assert [*cut.shard(0, 2)[0][1].shape] == [2, 4]
    assert [*Batch(NAMES, None, (tokens, tokens), {}).shard(0, 2)[0][1].shape] == [2, 4]


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ((5, torch.tensor(1.0)), "no tensor"),
        ((pack_padded_sequence(torch.zeros(3, 2, 1), [3, 1]),), "PackedSequence"),
        ((torch.zeros(2, 2).to_sparse(),), r"tokens: a torch\.sparse_coo tensor"),
        ((torch.nested.nested_tensor([torch.zeros(2)], layout=torch.jagged),), "tokens: a nested tensor"),
        ((torch.zeros(2, 2), [5, 3]), "mask: a list of 2, which is as many as there are samples"),
        (({"tokens": torch.zeros(2, 2), "names": ["a", "b"]},), "tokens: a list of 2"),
    ],
    ids=["numbers", "packed", "sparse", "nested", "lengths", "names"],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_cut_is_refused_by_name(args: Any, found: str) -> None:
    with pytest.raises(DeterministicError, match=found):
        Batch(NAMES, None, args, {})


def test_a_list_that_is_named_as_shared_or_has_another_length_is_passed_on() -> None:
    assert Batch(NAMES, ["mask"], (torch.zeros(2, 2), [5, 3]), {}).shard(0, 2)[0][1] == [5, 3]
    assert Batch(NAMES, None, (torch.zeros(2, 2), [5, 3, 1]), {}).shard(0, 2)[0][1] == [5, 3, 1]


def test_an_argument_that_is_the_same_for_every_batch_is_asked_for_and_labels_are_not() -> None:
    positions, ones = torch.arange(4), torch.ones(4)

    def problems(calls: Callable[[int], list[tuple[Any, ...]]], steps: int = 12) -> list[Any]:
        seen = SameForAll()
        return [seen.problem(Batch(NAMES, None, args, {})) for step in range(steps) for args in calls(step)]

    def rows(number: int) -> Tensor:
        return torch.full((4, 2), float(number))

    first, *later = [one for one in problems(lambda step: [(rows(step), positions)]) if one]
    assert "found: mask: [4], for 4 samples, in 8 batches" in str(first)
    assert not later
    assert problems(lambda step: [(rows(step), positions)], 7) == [None] * 7
    fine: list[Callable[[int], list[tuple[Any, ...]]]] = [
        lambda step: [(rows(step), ones)],
        lambda step: [(rows(0), positions)],  # one batch, learned by heart
        lambda step: [(rows(10 * step + call), positions + step) for call in range(5)],
        lambda step: [(rows(step), torch.arange(5))],
    ]
    assert not any(any(problems(calls)) for calls in fine)


class Output(NamedTuple):
    loss: Tensor
    logits: Tensor
    cache: Any = None


def test_rows_are_put_one_after_the_other_and_numbers_are_their_mean() -> None:
    outputs = [Output(torch.tensor(float(i)), torch.full((2, 3), i), "same") for i in range(4)]
    whole = merged(outputs, 2)
    assert isinstance(whole, Output)
    assert whole.loss == 1.5
    assert whole.logits[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert whole.cache == "same"
    assert merged(outputs[:1], 2) is outputs[0]


def test_what_nobody_can_put_together_tells_so_where_it_is_used() -> None:
    whole = merged([Output(torch.tensor(0.0), torch.zeros(2), nn.Identity()) for _ in range(2)], 2)
    with pytest.raises(DeterministicError, match="a Identity for each shard"):
        whole.cache.keys()
    assert "_NotMerged" in repr(whole.cache)


@pytest.mark.parametrize(
    "outputs",
    [[torch.zeros(3, 2)] * 2, [torch.zeros(2), (torch.zeros(2),)], [torch.zeros(2), torch.tensor(0.0)]],
    ids=["rows", "structure", "number"],
)
def test_outputs_without_rows_are_refused(outputs: Any) -> None:
    with pytest.raises(DeterministicError, match="for what the module returned"):
        merged(outputs, 2)
