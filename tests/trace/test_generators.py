"""Which generator an operation draws from, and its state before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from deterministic.trace.recording.operations import generator_of, state_hash
from deterministic.trace.recording.recorder import global_states

from .recorded import recorded

pytestmark = pytest.mark.usefixtures("apart")


def test_a_generator_that_is_passed_is_named_own_and_the_default_one_default() -> None:
    own = torch.Generator()
    assert generator_of((), {"generator": own}) == (own, "own cpu")
    assert generator_of((torch.ones(1), 0.5, own), {})[1] == "own cpu"
    assert generator_of((), {"generator": torch.default_generator})[1] == "default cpu"
    assert generator_of((torch.ones(1),), {})[1] == "default cpu"
    assert generator_of((), {"device": "meta"}) == (None, "default meta")


def test_the_state_is_the_one_before_the_draw() -> None:
    own = torch.Generator().manual_seed(3)
    before = state_hash(own)
    entry = recorded(lambda: torch.rand(3, generator=own)).one("rand.generator")
    assert entry.values("generator") == [("state", "own cpu")]
    assert entry.hashes[0] == before != state_hash(own)


@pytest.mark.parametrize("draw", [torch.nn.Dropout(0.5), torch.bernoulli, torch.rand_like, torch.Tensor.normal_])
def test_whatever_draws_has_the_default_generator(draw: object) -> None:
    x = torch.full((3,), 0.5)
    found = recorded(lambda: draw(x))  # type: ignore[operator]
    assert [kind for entry in found.all() for kind in entry.values("generator")] == [("state", "default cpu")]


X = torch.ones(1, 1, 4, 8)
DEAD: dict[str, Callable[[], object]] = {
    "attention without dropout": lambda: torch.nn.functional.scaled_dot_product_attention(X, X, X),
    "rrelu that does not train": lambda: torch.nn.functional.rrelu(X),
    "dropout that does not train": lambda: torch.native_dropout(X, 0.5, False),
    "a permutation of one": lambda: torch.randperm(1),
    "an empty tensor": lambda: torch.empty(0).normal_(),
}


@pytest.mark.parametrize("name", DEAD)
def test_what_does_not_move_its_generator_has_none(name: str) -> None:
    found = recorded(DEAD[name], "ops+inputs")
    assert found.all()
    assert [kind for entry in found.all() for kind in entry.values("generator")] == []


def test_the_states_of_the_process_are_told_without_drawing() -> None:
    before = global_states()
    assert {"torch.cpu", "python"} & set(before)
    assert global_states() == before
    torch.rand(1)
    assert global_states() != before
