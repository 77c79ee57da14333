"""Types and hashes of tensors and numbers, as records have them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic.values.bits import is_plain
from deterministic.values.hashes import hash_on_host, read
from deterministic.values.numbers import number_bits, number_from, number_type


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.ones(2, 3), "float32[2, 3]"),
        (torch.ones(2, 3).t(), "float32[3, 2]/[1, 3]"),
        (torch.ones(()), "float32[]"),
        (torch.ones(0, dtype=torch.int8), "int8[0]"),
        (torch.eye(2).to_sparse(), "float32[2, 2] sparse_coo"),
    ],
)
def test_a_type_says_dtype_shape_strides_and_layout(tensor: torch.Tensor, text: str) -> None:
    assert str(read(tensor)[0]) == text


def test_the_hash_is_of_the_logical_values() -> None:
    x = torch.arange(6.0).view(2, 3)
    assert read(x)[1] == hash_on_host(x) == read(x.t().contiguous().t())[1]
    assert read(x)[1] != read(x.t())[1]


def test_a_parameter_and_a_tensor_are_the_same() -> None:
    assert read(torch.nn.Parameter(torch.ones(2))) == read(torch.ones(2))
    assert is_plain(torch.nn.Parameter(torch.ones(2)))
    assert not is_plain(torch.nn.UninitializedParameter())


@given(st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats()))
def test_the_bits_of_a_number_tell_it(number: Any) -> None:
    found = number_from(number_type(number), number_bits(number))
    assert type(found) is type(number)
    assert found == number or (math.isnan(number) and math.isnan(found))  # type: ignore[arg-type]


def test_numbers_of_other_kinds() -> None:
    class Own(int):
        pass

    assert number_type(Own(3)) == "int"
    assert number_type(None) == "text"
    assert number_type(1j) == "complex"
    assert number_bits(1j) != number_bits(-1j)
    assert number_from("complex", number_bits(1j)) is None
    assert number_bits(2**70 + 1) == 1
    assert number_bits(0.0) != number_bits(-0.0)
