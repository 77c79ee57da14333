"""Accelerate saves a run and a loader as anything that has a state: killed and resumed, a training ends the same."""

from __future__ import annotations

from typing import Any

import pytest

from .children import different, ends_of

Ends = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory, model_of_pythons: None) -> Ends:
    return ends_of("accelerate_training", tmp_path_factory.mktemp("accelerate"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["exact", "workers"])
def test_a_training_that_was_killed_ends_as_the_whole_one(ends: Ends, case: str) -> None:
    assert different({case: ends[case]}) == {}
    assert all(isinstance(end, dict) for end in ends[case].values())
    assert ends[case]["None"] == ends["exact"]["None"]


@pytest.mark.slow
def test_a_loader_that_accelerate_prepares_is_exact_between_two_epochs_and_not_within_one(ends: Ends) -> None:
    found = different(ends)
    assert "own 6" not in found
    assert {"model", "optimizer"} <= set(found["own 3"])
    assert {"model", "optimizer"} <= set(found["own workers 3"])
