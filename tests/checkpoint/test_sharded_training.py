"""A sharded training of which a rank was killed goes on, on as many ranks or on another number of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic.checkpoint.directory import saved_steps

from ..properties import on_demand
from ..ranks import launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]


def run(folder: Path, ranks: int, how: str, *jobs: str, survives: bool = True) -> list[dict[str, Any]]:
    results = [folder / f"{rank}.json" for rank in range(ranks)]
    launch(ranks, "tests.checkpoint.sharded_training", folder, how, *jobs, survives=survives)
    return [json.loads(result.read_text()) for result in results] if survives else []


@pytest.mark.parametrize("end", ["writing", *on_demand(["between", "main"])])
def test_of_four_ranks_one_was_killed_and_two_go_on_from_the_last_whole_checkpoint(tmp_path: Path, end: str) -> None:
    run(tmp_path, 4, "plain", end, survives=False)
    assert saved_steps(tmp_path / "cut") == [2]
    saved = json.loads((tmp_path / "saved.0.json").read_text())
    for found in run(tmp_path, 2, "plain", "resume"):
        assert found["resume"]["start"] == saved
        assert found["resume"]["end"][0] == 6
    assert saved_steps(tmp_path / "cut") == [2, 4, 6]
    left = sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert len([name for name in left if ".rank" in name]) == 4 + 2 + 2  # nothing is left of what was cut


def test_on_as_many_ranks_it_ends_with_the_bits_of_the_one_that_was_not_killed(tmp_path: Path) -> None:
    run(tmp_path, 4, "plain", "between", survives=False)
    for found in run(tmp_path, 4, "plain", "resume", "whole"):
        assert found["resume"]["end"] == found["whole"]["end"]
        assert found["resume"]["start"][0] == 2


def test_what_each_rank_has_of_its_own_is_named_where_another_number_would_have_to_have_it(tmp_path: Path) -> None:
    run(tmp_path, 4, "norm", "whole")
    (tmp_path / "whole").rename(tmp_path / "cut")
    for found in run(tmp_path, 2, "norm", "resume"):
        first, *names, remedy = found["resume"]["refused"].split("\n")
        assert first.endswith("was saved by 4 ranks, and cannot be shared out to 2")
        assert names == [f"  model.3.running_{name}: each rank had its own" for name in ("mean", "var")]
        assert remedy.startswith("Resume on as many ranks.")
