"""Hydra runs the jobs of a sweep in one process: by hand they leak from one to the next, with a scope each they do not.

The jobs are (seed 1, deterministic), (seed 1), (deterministic), and one that asks for nothing. The second one fails;
Hydra runs the others all the same.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deterministic import reproducible

from ..processes import ROOT
from .leaks import changed

Jobs = list[dict[str, Any]]


def sweep(folder: Path, *, scoped: bool) -> Jobs:
    """Run the jobs by Hydra's own launcher, and return what each has found."""
    out = folder / "jobs.jsonl"
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "tests.integrations.hydra_jobs", "--multirun"),
            *("+seed=1,null", "+deterministic=true,null", f"+scoped={scoped}", "+failing=1", f"+out={out}"),
            *(f"hydra.sweep.dir={folder}", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "the job that fails" in finished.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return sweep(tmp_path_factory.mktemp("by_hand"), scoped=False)


@pytest.fixture(scope="module")
def scoped(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return sweep(tmp_path_factory.mktemp("scoped"), scoped=True)


def flags(jobs: Jobs) -> list[bool]:
    return [job["flag"] for job in jobs]


@pytest.mark.slow
def test_by_hand_the_flags_and_the_streams_of_a_job_reach_the_next_ones(by_hand: Jobs) -> None:
    assert flags(by_hand) == [True, True, True, True], "asked for were the first and the third"
    stream = random.Random(1)
    drawn = [job["drawn"][0] for job in by_hand]
    assert drawn[0] == drawn[1] == stream.random()
    assert drawn[2:] == [stream.random(), stream.random()], "jobs without a seed go on with that of the others"
    assert by_hand[1]["before"]["environment.CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.slow
def test_with_a_scope_each_job_finds_what_the_first_one_found(scoped: Jobs) -> None:
    first = scoped[0]["before"]
    assert [changed(first, job["before"]) for job in scoped] == [{}, {}, {}, {}]
    assert [changed(job["before"], job["after"]) for job in scoped[:3]] == [{}, {}, {}]


@pytest.mark.slow
def test_with_a_scope_the_flags_are_those_that_the_job_asks_for(scoped: Jobs) -> None:
    assert flags(scoped) == [True, False, True, False]


@pytest.mark.slow
def test_with_a_scope_a_job_without_a_seed_goes_on_with_the_streams_of_the_process(scoped: Jobs) -> None:
    with reproducible(seed=9, deterministic=False):
        expected = [random.random(), np.random.rand()]
    assert [job["drawn"][:2] for job in scoped[2:]] == [expected, expected]
    assert scoped[0]["drawn"] == scoped[1]["drawn"]
    assert scoped[0]["drawn"][0] == random.Random(1).random()


@pytest.mark.slow
def test_a_job_that_asks_for_nothing_is_exactly_as_before(scoped: Jobs) -> None:
    last = scoped[3]
    moved = changed(last["before"], last["after"]).keys()
    assert moved >= {"python.random.digest", "numpy.random.digest", "torch.cpu.digest"}
