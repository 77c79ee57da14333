"""Keys: what they depend on, and that they are the same everywhere and for good."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic.data.samples.keys import (
    batch_key,
    collate_key,
    epoch_key,
    index_number,
    sample_key,
    sample_keys,
)
from deterministic.data.samples.states import mix

from ..processes import run_python
from .datasets import Draws, epochs, loader

SEEDS = st.integers(0, 2**64 - 1)


def test_keys_are_these_for_good() -> None:
    # Results that were published with them must stay reproducible: a change here breaks them.
    epoch = epoch_key(42, 3, "samples")
    assert epoch == 11832757722214877376
    assert sample_key(epoch, 7) == 3430189040376158643
    assert sample_key(epoch, 7, 1) == 5423289417740239411
    assert index_number("a") == 7432626527751145689
    assert index_number((1, "b")) == 5338467102255622770


def test_draws_are_these_for_good() -> None:
    numpy_and_torch = [
        [0.2279795684998862, 2.530243359965184, 0.36461646677647397, 0.5187919792217174],
        [0.502533629895882, -1.827850600470571, 0.7208862587761379, 1.2154650649082288],
        [0.1481443117378206, -0.7954916920940961, 0.4327203449906588, -0.5215383474642713],
    ]
    first = epochs(loader(Draws(3), batch_size=3, shuffle=False, seed=42), 1)[0][0]
    assert first == [
        [0, 0.03519683342665014, 0.5045882961836512, *numpy_and_torch[0]],
        [1, 0.07113455844340522, -2.4153013961988887, *numpy_and_torch[1]],
        [2, 0.6199229482392568, 0.5486556624274983, *numpy_and_torch[2]],
    ]


@given(SEEDS, SEEDS)
def test_mixing_loses_nothing(one: int, other: int) -> None:
    assert (mix(one) == mix(other)) == (one == other)
    assert 0 <= mix(one) < 2**64


@given(SEEDS, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_sample_has_a_key_of_its_own(seed: int, epoch: int, later: int, index: int, other: int) -> None:
    here = epoch_key(seed, epoch, "samples")
    keys = [sample_key(here, index), sample_key(here, index, 1), sample_key(here, index, 2)]
    if index != other:
        keys.append(sample_key(here, other))
    if epoch != later:
        keys.append(sample_key(epoch_key(seed, later, "samples"), index))
    assert len(set(keys)) == len(keys)


@given(SEEDS, st.lists(st.integers(-(2**63), 2**64 - 1), max_size=20), st.booleans())
def test_keys_made_at_once_are_those_made_one_by_one(epoch: int, indices: list[int], again: bool) -> None:
    occurrences = [place % 3 for place in range(len(indices))] if again else None
    expected = [sample_key(epoch, index, (occurrences or [0] * len(indices))[p]) for p, index in enumerate(indices)]
    assert sample_keys(epoch, indices, occurrences) == expected


@pytest.mark.parametrize(
    "indices", [["a", 1], [True, 2], [1.5, 2], [(1, 2), (3, 4)], [np.int64(3), 4], torch.arange(3)]
)
def test_that_holds_for_indices_of_any_type(indices: Any) -> None:
    assert sample_keys(5, indices) == [sample_key(5, index) for index in indices]


def test_keys_of_an_epoch_of_a_million_differ_and_their_bits_are_even() -> None:
    epoch = epoch_key(0, 0, "samples")
    keys = np.array([sample_key(epoch, index) for index in range(10**5)], dtype=np.uint64)
    assert len(np.unique(keys)) == len(keys)
    bits = np.unpackbits(keys.view(np.uint8)).reshape(len(keys), 64).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.01


def test_fetching_and_collating_and_other_lengths_have_keys_of_their_own() -> None:
    keys = [batch_key(5, 2), batch_key(5, 3), batch_key(6, 2), collate_key(batch_key(5, 2)), 5]
    assert len(set(keys)) == len(keys)


def test_integers_of_all_types_are_one_index() -> None:
    numbers = [index_number(index) for index in (3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3))]
    assert numbers == [3] * 5
    assert index_number(-1) == -1
    assert index_number(True) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", 1),
        ("a", b"a"),
        (("a", "b"), ("ab",)),
        (("a", "b"), ["a", "b"]),
        ((1, 2), (12,)),
        (1.0, 1),
        (None, "None"),
        (slice(1, 2), slice(1, 3)),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([1, 2]), np.array([[1, 2]])),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (PurePosixPath("a/b"), "a/b"),
        (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    ],
    ids=str,
)
def test_indices_that_differ_have_other_numbers(one: Any, other: Any) -> None:
    assert index_number(one) != index_number(other)
    assert index_number(one) == index_number(one)


def test_the_number_of_an_index_does_not_depend_on_the_hash_seed() -> None:
    code = "from deterministic.data.samples.keys import index_number; print(index_number(('a', ('b', 1.5))))"
    assert run_python(code, PYTHONHASHSEED="1") == str(index_number(("a", ("b", 1.5))))


@dataclass
class Named:
    name: str
    tags: frozenset[Any]


def numbers() -> list[int]:
    unordered = {"a", "b", "c"}, {"b": 1, "a": 2}, Named("x", frozenset("abc")), np.array(["a", None], dtype=object)
    return [index_number(index) for index in unordered]


def test_what_has_no_order_of_its_own_gets_one() -> None:
    code = "from tests.data.test_keys import numbers; print(numbers())"
    assert run_python(code, PYTHONHASHSEED="1") == str(numbers())
    others = [index_number(index) for index in (int, str, torch.zeros(2, dtype=torch.bfloat16), {1: 2}, {1}, Named)]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("index", [object(), lambda: 0, (1, object()), Named("x", frozenset([object()]))])
def test_an_index_that_says_only_where_it_lies_is_refused(index: Any) -> None:
    with pytest.raises(TypeError, match="no value that is the same in every process"):
        index_number(index)


def test_an_index_without_a_value_that_can_be_written_down_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no value that is the same in every process[\s\S]*__repr__"):
        index_number(object())


def test_what_lies_between_the_fields_of_an_array_is_no_part_of_an_index() -> None:
    kind = np.dtype([("label", "i1"), ("box", "f8")], align=True)
    one, other = (np.full(16, junk, np.uint8).view(kind) for junk in (1, 2))
    for array in (one, other):
        array["label"], array["box"] = 3, 1.5
    assert index_number(one) == index_number(other)
    other["box"] = 2.5
    assert index_number(one) != index_number(other)
