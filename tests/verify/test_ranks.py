"""`record`, `diff` and `verify` where a training is spread over ranks: FSDP2, tensor parallel, DDP."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import diff
from deterministic.trace.comparing.reasons import Reason

from ..ranks import launch
from .sharded import KINDS

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no collectives")

LINE = "x = x * (1 + noise)"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    launch(2, "tests.verify.sharded", folder)
    return folder


def said(folder: Path, what: str) -> list[Any]:
    return [json.loads((folder / f"rank{rank}.json").read_text())[what] for rank in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_recordings_of_a_spread_training_are_the_same(kind: str, sharded: Path) -> None:
    found = diff(sharded / f"{kind} one.trace", sharded / f"{kind} other.trace")
    assert found.outcome == "same", str(found)
    assert [verdict.comparison.level for verdict in found.verdicts if verdict.comparison] == ["ops+inputs"] * 2
    assert [verdict.comparison.steps for verdict in found.verdicts if verdict.comparison] == [3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_rank_does_otherwise_is_found_at_its_step_and_line(kind: str, sharded: Path) -> None:
    innocent, culprit = diff(sharded / f"{kind} one.trace", sharded / f"{kind} faulty.trace").verdicts
    for verdict in (innocent, culprit):
        assert verdict.comparison is not None
        assert verdict.comparison.divergence is not None
        assert verdict.comparison.divergence.segment == 1
    assert innocent.cause is not None
    assert innocent.cause.reason is Reason.COLLECTIVE, str(innocent)
    assert kind != "fsdp" or "_reduce_scatter_base_   backward" in str(innocent), str(innocent)
    assert "aten.mul.Tensor" in str(culprit)
    assert LINE in str(culprit)
    assert culprit.cause is not None
    assert culprit.cause.reason is Reason.NUMBER


@pytest.mark.parametrize("kind", KINDS)
def test_verify_in_the_ranks_finds_a_spread_training_bit_exact(kind: str, sharded: Path) -> None:
    for rank, report in enumerate(said(sharded, f"{kind} same")):
        assert report["outcome"] == "same", report["text"]
        assert f"on rank {rank}, 3 steps each" in report["text"]


@pytest.mark.parametrize("kind", KINDS)
def test_verify_in_the_ranks_names_the_rank_at_fault(kind: str, sharded: Path) -> None:
    innocent, culprit = said(sharded, f"{kind} faulty")
    assert [innocent["outcome"], culprit["outcome"]] == ["different", "different"]
    assert innocent["verdict"]["reason"] == "collective", innocent["text"]
    assert any("on rank 1 differs" in note and LINE in note for note in innocent["notes"]), innocent["text"]
    assert culprit["verdict"]["first_difference"]["step"]["number"] == 1
    assert LINE in culprit["text"]
    assert not any("variable mesh" in report["text"] for report in (innocent, culprit)), innocent["text"]


def test_a_rank_without_a_difference_makes_the_replays_of_one_that_has_and_reports_it(sharded: Path) -> None:
    innocent, culprit = said(sharded, "one rank")
    assert innocent["outcome"] == culprit["outcome"] == "different"
    assert innocent["verdict"] is None or innocent["verdict"]["first_difference"] is None
    assert innocent["notes"][0] == "on this rank the runs are bit-exact"
    assert "observed mine" in innocent["notes"][1]
    assert culprit["verdict"]["reason"] == "number", culprit["text"]  # which only a replay tells


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's own store")
def test_a_script_under_torchrun_meets_anew_in_each_run(tmp_path: Path) -> None:
    launch(2, "tests.verify.under_torchrun", tmp_path)
    innocent, culprit = ((tmp_path / f"rank{rank}.txt").read_text() for rank in range(2))
    assert "on this rank the runs are bit-exact" in innocent
    assert "observed mine" in innocent
    assert "script.py on rank 1 differs from run 1 first" in culprit
    assert [(tmp_path / f"traces/rank{rank}/run1.trace").exists() for rank in range(2)] == [True, True]
