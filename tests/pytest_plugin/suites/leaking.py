"""Tests for `--reproducible-leaks`: some leave a source changed, some only look like it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from deterministic import reproducible


@pytest.fixture(scope="module")
def wide() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    random.seed(5)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def tidy() -> Iterator[None]:
    torch.backends.cudnn.benchmark = True
    yield
    torch.backends.cudnn.benchmark = False


@pytest.fixture
def untidy() -> None:
    torch.backends.cudnn.benchmark = True


def test_draws() -> None:
    random.gauss(0, 1)
    random.shuffle(list(range(5000)))
    np.random.rand(3000)
    np.random.randn()
    torch.randn(3000)
    torch.randn(1)


def test_seeds_python() -> None:
    random.seed(1)


def test_seeds_numpy() -> None:
    np.random.seed(1)


def test_seeds_torch() -> None:
    torch.manual_seed(1)


def test_sets_a_flag() -> None:
    torch.backends.cudnn.deterministic = True


def test_sets_a_variable() -> None:
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"


def test_opens_a_scope() -> None:
    reproducible(3).start()


def test_has_an_untidy_fixture(untidy: None) -> None:
    pass


def test_has_a_tidy_fixture(tidy: None) -> None:
    pass


def test_asks_for_a_wide_fixture(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("wide")


def test_has_a_wide_fixture(wide: None) -> None:
    assert torch.get_default_dtype() == torch.float64


@pytest.mark.reproducible
def test_is_marked() -> None:
    random.seed(1)
    assert torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = True


@pytest.mark.filterwarnings("ignore:a test left a scope open")
@pytest.mark.reproducible
def test_is_marked_and_opens_a_scope() -> None:
    reproducible(3).start()
    reproducible(4).start()


def test_finds_nothing_of_all_that() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
