"""Real ranks: they see what the ranks that are only played see, and train to the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ..ranks import launch
from .datasets import epochs
from .test_ranks import as_rank, global_batches, over

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]


def run(folder: Path, processes: int, *jobs: str) -> list[dict[str, Any]]:
    """Run the training on so many processes, and return what each of them found."""
    launch(processes, "tests.data.ranks_training", folder, *jobs)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def together(found: list[dict[str, Any]], name: str) -> Any:
    return global_batches([one[name] for one in found])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def four(folder: Path) -> list[dict[str, Any]]:
    return run(folder, 4, "save")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    return run(folder, 2, "train")


@pytest.fixture(scope="module")
def one(folder: Path, four: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return run(folder, 1, "resume", "train")  # from the state that four have saved


def test_one_two_and_four_processes_see_the_same_global_batches(
    one: list[dict[str, Any]], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    expected = epochs(over(43), 1)[0]
    assert one[0]["batches"] == expected
    for found in (two, four):
        batches = together(found, "batches")
        assert batches[:-1] == expected[:-1]
        assert batches[-1][:3] == expected[-1]
        assert len(batches[-1]) == 4
        assert {rank["length"] for rank in found} == {6}
        assert {rank["batch_size"] for rank in found} == {8 // len(found)}


def test_played_ranks_see_what_real_ones_see(two: list[dict[str, Any]], four: list[dict[str, Any]]) -> None:
    for found in (two, four):
        for rank, real in enumerate(found):
            with as_rank(rank, len(found)):
                assert epochs(over(43), 1)[0] == real["batches"]


def test_what_four_processes_saved_one_resumes(
    one: list[dict[str, Any]], four: list[dict[str, Any]], folder: Path
) -> None:
    states = {(folder / f"state{rank}.json").read_text() for rank in range(4)}
    assert len(states) == 1, "every rank saves the same"
    uninterrupted = epochs(over(43), 2)[1][2:]
    rest = together(four, "rest")
    assert one[0]["rest"] == uninterrupted
    assert rest[:-1] == uninterrupted[:-1]
    assert rest[-1][:3] == uninterrupted[-1]


def test_a_ddp_training_has_the_same_weights_every_time_and_on_every_rank(
    one: list[dict[str, Any]], two: list[dict[str, Any]], folder: Path
) -> None:
    again = run(folder, 2, "train")
    weights = two[0]["weights"]
    assert [rank["weights"] for rank in (*two, *again)] == [weights] * 4
    # One process averages the same samples at once: the same up to the order of the sums, so both ranks had their part.
    for ours, alone in zip(weights, one[0]["weights"], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(alone))
    assert again[0]["batches"] == two[0]["batches"]
