"""A model under `fully_shard` has the same weights on any number of ranks, and as one that is not sharded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..ranks import launch
from ..versions import needs_fsdp_reduction
from .test_invariant import results

pytestmark = [pytest.mark.slow, needs_fsdp_reduction]

ALIKE = ("mlp", "cnn", "transformer", "lstm", "gpt2", "again", "transformer,amp", "transformer,rows")
"""Those that end with the same bits as without `fully_shard`."""

JOBS = (
    *(f"{job},fsdp" for job in ALIKE),
    "transformer,fsdp,bf16",
    "lstm,fsdp,bf16",
    "transformer,fsdp,kept",
    "transformer,fsdp,half",
    "mlp,fsdp,twice",
    "mlp,fsdp,accumulated",
    "routed,fsdp",
)

EXPECTED = {
    "replicas": "over a mesh of [2, 1] of 2 ranks",
    "a part of the ranks": "over a mesh of [1] of 2 ranks",
    "tensor parallel": "over a mesh of [2, 1] of 2 ranks",
    "a layer alone": "found: Sequential, of which parts are sharded",
    "left out": "found: 0.weight, which is whole on each rank",
    "another reduction": "found: Other\n",
    "a hook": "found: set_all_reduce_hook\n",
    "a factor": "found: set_gradient_divide_factor\n",
    "float16": "found: gradients in float16",
    "offloaded": "found: CPUOffloadPolicy",
    "again": "is world-invariant already",
    "on one rank alone": "rank 1: DeterministicError: a sharded model cannot be trained alike",
    "rows": "the ranks do not agree on the samples",
    "eval": "a module in eval mode was trained",
    "a part by itself": "a part of a sharded model was trained by itself",
    "without sums": "found: set_requires_gradient_sync(False)",
    "columns": "(Shard(dim=1),) over a mesh of [2]",
    "a second pass": "found: a second backward pass through one call",
    "no scale": "found: matrix_exp",
    "fused": "found: AdamW(fused=True) on CPUs",
    "matrices": "found: Muon",
    "twice differentiated": "found: gradients of gradients",
}


def test_weights_buffers_and_moments_are_the_same_on_one_two_and_four_ranks_and_unsharded(tmp_path: Path) -> None:
    (alone,) = results(tmp_path, 1, *JOBS, *ALIKE)
    assert [job for job in ALIKE if alone[job] != alone[f"{job},fsdp"]] == []
    assert alone["transformer,fsdp,kept"] == alone["transformer"]
    for ranks in (2, 4):
        for rank in results(tmp_path, ranks, *JOBS):
            assert {job: found for job, found in rank.items() if found != alone[job]} == {}


def test_six_ranks_have_those_of_three_and_of_what_is_not_sharded(tmp_path: Path) -> None:
    jobs = ("cnn", "transformer,rows", "mlp,weighted", "cnn,fsdp", "transformer,rows,fsdp")
    (three, *_), *others = (results(tmp_path, ranks, *jobs) for ranks in (3, 6))
    assert [rank for found in others for rank in found if rank != three] == []
    assert three["cnn"] == three["cnn,fsdp"]
    assert three["transformer,rows"] == three["transformer,rows,fsdp"]


def test_without_it_they_are_others(tmp_path: Path) -> None:
    jobs = [*(f"{name},fsdp,plain" for name in ("mlp", "cnn", "transformer")), "transformer,fsdp,clip"]
    (alone,), (two, *_) = results(tmp_path, 1, *jobs), results(tmp_path, 2, *jobs)
    assert [job for job in jobs if alone[job] == two[job]] == []


def test_what_cannot_be_the_same_is_refused_on_all_ranks_with_the_same_words(tmp_path: Path) -> None:
    launch(2, "tests.distributed.fsdp_cases", tmp_path, "refused")
    told, others = [json.loads((tmp_path / f"2-{rank}.json").read_text()) for rank in range(2)]
    assert {name: told[name] for name, text in EXPECTED.items() if text not in told[name]} == {}
    assert told == others
    assert told.keys() == EXPECTED.keys()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_model_stays_usable(tmp_path: Path, ranks: int) -> None:
    launch(ranks, "tests.distributed.fsdp_cases", tmp_path, "used")


@pytest.mark.parametrize("ranks", [2, 4])
def test_gradients_that_only_some_ranks_or_steps_have_are_those_of_all_ranks(tmp_path: Path, ranks: int) -> None:
    launch(ranks, "tests.distributed.fsdp_cases", tmp_path, "partly")


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_refusal_while_parameters_are_gathered_changes_nothing(tmp_path: Path, ranks: int) -> None:
    launch(ranks, "tests.distributed.fsdp_cases", tmp_path, "recovered")


def test_ranks_gather_and_reduce_while_they_tell_each_other_numbers(tmp_path: Path) -> None:
    launch(2, "tests.distributed.fsdp_cases", tmp_path, "overlapped")
