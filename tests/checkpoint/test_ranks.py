"""Several ranks that save and resume together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deterministic.checkpoint.directory import saved_steps

from ..properties import on_demand
from ..ranks import launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]

Found = dict[str, dict[str, str]]


def run(folder: Path, ranks: int, how: str, *jobs: str, survives: bool = True) -> list[Found]:
    results = [folder / f"{rank}.json" for rank in range(ranks)]
    for result in results:
        result.unlink(missing_ok=True)
    launch(ranks, "tests.checkpoint.ranks_training", folder, how, *jobs, survives=survives)
    return [json.loads(result.read_text()) for result in results] if survives else []


def test_two_ranks_of_which_one_was_killed_end_with_the_same_bits_each_with_its_own(tmp_path: Path) -> None:
    run(tmp_path, 2, "small", "die", survives=False)
    assert saved_steps(tmp_path / "cut") == [2]
    assert len([*(tmp_path / "cut").glob("step-00000002.rank1.*.safetensors")]) == 1
    first, second = run(tmp_path, 2, "small", "resume", "whole")
    for found in (first, second):
        assert found["resume"] == found["whole"]
        assert found["whole"]["warnings"] == ""
    assert first["whole"]["weights"] == second["whole"]["weights"]
    assert first["whole"]["statistics"] != second["whole"]["statistics"]
    assert saved_steps(tmp_path / "cut") == [6, 8, 9]
    assert len([*(tmp_path / "cut").glob("*.rank1.*")]) == 3


def test_a_step_that_is_saved_again_is_whole_also_where_the_second_save_is_cut(tmp_path: Path) -> None:
    run(tmp_path, 2, "small", "cut", survives=False)
    assert saved_steps(tmp_path / "cut") == [2, 3]
    assert len([*(tmp_path / "cut").glob("step-00000003.rank1.*.safetensors")]) == 2
    for found in run(tmp_path, 2, "small", "resume", "whole"):
        assert found["resume"] == found["whole"]
    assert len([*(tmp_path / "cut").glob("*.rank1.*")]) == 3


def test_a_checkpoint_of_ranks_of_version_0_1_0_is_read(tmp_path: Path) -> None:
    run(tmp_path, 2, "small", "die", survives=False)
    (of_rank,) = (tmp_path / "cut").glob("*.rank1.*")
    of_rank.rename(tmp_path / "cut" / "step-00000002.rank1.safetensors")
    for found in run(tmp_path, 2, "small", "resume", "whole"):
        assert found["resume"] == found["whole"]


@pytest.mark.parametrize("how", ["wide", "wide, inner"])
def test_above_two_ranks_ddp_s_first_step_adds_in_another_order_and_that_is_said(how: str, tmp_path: Path) -> None:
    for found in run(tmp_path, 3, how, "whole", "stop", "resume"):
        assert found["resume"]["weights"] != found["whole"]["weights"]
        assert "ordered_reduction" in found["resume"]["warnings"]


@pytest.mark.parametrize("how", ["wide, ordered", *on_demand(["wide, fixed order"])])
def test_above_two_ranks_it_is_the_same_where_the_buckets_do_not_count(how: str, tmp_path: Path) -> None:
    for found in run(tmp_path, 3, how, "whole", "stop", "resume"):
        assert found["resume"] == found["whole"]
        assert found["whole"]["warnings"] == ""
