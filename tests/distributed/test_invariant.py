"""A training has the same weights on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ..ranks import launch

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch was built without torch.distributed"
)

JOBS = (
    "cnn",
    "transformer",
    "lstm",
    "mlp",
    "gpt2",
    "again",
    "cnn,amp",
    "transformer,amp,scaled,clip",
    "mlp,clip,zeros",
    "mlp,weighted",
    "mlp,twice",
    "mlp,binary",
)


def results(folder: Path, ranks: int, *jobs: str) -> list[dict[str, list[str]]]:
    launch(ranks, "tests.distributed.trainings", folder, *jobs)
    return [json.loads((folder / f"{ranks}-{rank}.json").read_text()) for rank in range(ranks)]


@pytest.mark.slow
def test_weights_buffers_and_moments_are_the_same_on_one_two_and_four_ranks(tmp_path: Path) -> None:
    (alone,) = results(tmp_path, 1, *JOBS)
    for ranks in (2, 4):
        for rank in results(tmp_path, ranks, *JOBS):
            assert rank == alone


@pytest.mark.slow
def test_without_it_they_are_others(tmp_path: Path) -> None:
    jobs = [f"{name},plain" for name in ("cnn", "transformer", "lstm", "mlp", "gpt2")]
    (alone,), (two, *_) = results(tmp_path, 1, *jobs), results(tmp_path, 2, *jobs)
    assert [job for job in jobs if alone[job] == two[job]] == []
