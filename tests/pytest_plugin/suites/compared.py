"""Tests for `--reproducible-check`: what is the same in every run, what differs, what cannot be told."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

CALLS = itertools.count()
TORN_DOWN = itertools.count()
FAILS_LATER = itertools.count()
FIXTURE_FAILS_LATER = itertools.count()
ENDS_LATER = itertools.count()

pytestmark = pytest.mark.reproducible


@pytest.fixture(scope="module")
def shared() -> Iterator[torch.nn.Linear]:
    yield torch.nn.Linear(2, 1)
    assert next(TORN_DOWN) == 0


@pytest.fixture
def fresh() -> torch.Tensor:
    return torch.rand(3)


@pytest.fixture
def counted() -> torch.Tensor:
    return torch.full((3,), float(next(CALLS)))


@pytest.fixture
def breaks_later() -> None:
    if next(FIXTURE_FAILS_LATER):
        raise RuntimeError("the fixture broke")


def test_same(fresh: torch.Tensor, shared: torch.nn.Linear, tmp_path: Path) -> None:
    assert shared(torch.rand(2)).item() != (fresh * 2).sum()
    (tmp_path / "made").mkdir()  # each run has a folder of its own


@pytest.mark.flaky(reruns=2)
def test_counts() -> None:
    values = torch.ones(3) * next(CALLS)
    assert values.shape == (3,)


def test_fixture_counts(counted: torch.Tensor) -> None:
    assert (counted * 2).sum() >= 0


def test_changes_what_is_shared(shared: torch.nn.Linear) -> None:
    with torch.no_grad():
        shared.weight += 1
    shared(torch.ones(2))


def test_nothing_to_compare() -> None:
    pass


def test_fails() -> None:
    assert torch.rand(1) > 2


def test_fails_later() -> None:
    torch.rand(1)
    assert not next(FAILS_LATER)


def test_ends_later() -> None:
    torch.rand(1)
    if next(ENDS_LATER):
        pytest.fail("later")


def test_fixture_fails_later(breaks_later: None) -> None:
    torch.rand(1)


def test_skips() -> None:
    pytest.skip("no")


@pytest.mark.xfail(strict=True)
def test_xfails() -> None:
    raise RuntimeError


class TestOfUnittest(unittest.TestCase):
    def setUp(self) -> None:
        self.drawn = torch.rand(2)

    def test_same_method(self) -> None:
        assert (self.drawn * torch.rand(2)).sum() > 0

    def test_method_counts(self) -> None:
        assert (self.drawn * next(CALLS)).sum() >= 0


@pytest.mark.reproducible(enabled=False)
def test_unmarked() -> None:
    torch.rand(1) * next(CALLS)


@pytest.fixture(scope="class")
def fails_in_the_end() -> Iterator[None]:
    yield
    raise RuntimeError("torn down")


class TestOfAClass:
    def test_last_of_its_class(self, fails_in_the_end: None) -> None:
        torch.rand(1)
