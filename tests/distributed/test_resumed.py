"""A training that is killed, and resumed on another number of ranks, ends with the weights of one that was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic.checkpoint.directory import saved_steps

from ..ranks import launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]


def run(folder: Path, ranks: int, sharded: str, killed: int = 0) -> Any:
    folder.mkdir(exist_ok=True)
    launch(ranks, "tests.distributed.resumed", folder, sharded, str(killed), survives=not killed)
    return None if killed else json.loads((folder / "end.json").read_text())


@pytest.mark.parametrize("sharded", ["ddp", "fsdp"])
def test_killed_on_four_ranks_it_ends_on_two_or_one_as_if_nothing_had_been(sharded: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 1, sharded)
    run(tmp_path / "cut", 4, sharded, killed=3)
    assert saved_steps(tmp_path / "cut" / "saved") == [2]
    run(tmp_path / "cut", 2, sharded, killed=5)
    assert saved_steps(tmp_path / "cut" / "saved") == [2, 4]
    assert run(tmp_path / "cut", 1, sharded) == whole
    assert whole[0] == 6
