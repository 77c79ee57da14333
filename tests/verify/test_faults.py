"""Every fault is found: the right step, operation, module, line and reason, in one process and through files."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import diff, record, reproducible, verify
from deterministic.trace.comparing.reasons import Reason
from deterministic.trace.comparing.verdict import Verdict
from tests.properties import examples
from tests.trace.models import MODELS, train
from tests.verify import faults
from tests.verify.faults import FAULTS, Fault, blamed_line

every_fault = pytest.mark.parametrize("name", FAULTS)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(verdict: Verdict | None, fault: Fault) -> None:
    assert verdict is not None
    assert verdict.comparison is not None
    assert verdict.cause is not None
    divergence = verdict.comparison.divergence
    assert divergence is not None
    moment = divergence.second or divergence.first
    assert moment is not None
    site = moment.site
    assert (verdict.cause.reason, divergence.segment) == (fault.reason, fault.step), str(verdict)
    assert site.name == (fault.operation or site.name), str(verdict)
    assert site.module == fault.module, str(verdict)
    if fault.blamed is not None:
        assert site.place == f"tests/verify/faults.py:{blamed_line(fault.blamed)}", str(verdict)


@pytest.mark.slow
@every_fault
def test_a_fault_is_found_in_one_process(name: str) -> None:
    fault = FAULTS[name]
    runs = itertools.count()

    def trained() -> Any:
        # 0, 1 in the first pass, and the same again in each pair of replays.
        return fault.train(next(runs) % 2)

    report = verify(trained, control=reproducible(seed=3, deterministic=False))
    assert report.outcome == "different", report
    check(report.verdict, fault)


@every_fault
def test_a_fault_is_found_through_files(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    for run in (0, 1):
        with reproducible(seed=3, deterministic=False), record(tmp_path / f"{run}.trace", "ops+inputs"):
            fault.train(run)
    found = diff(tmp_path / "0.trace", tmp_path / "1.trace")
    assert found.outcome == "different", found
    check(found.verdicts[0], fault)


@pytest.mark.parametrize("name", MODELS)
def test_a_clean_training_is_never_accused(name: str) -> None:
    for seed in range(examples()):
        report = verify(lambda: train(MODELS[name](), 2), runs=2, control=reproducible(seed=seed))
        assert report.outcome == "same", report


@pytest.mark.parametrize("threads", [2, 4])
def test_a_race_of_a_kernel_is_found(threads: int) -> None:
    # Nothing is injected here: it differs by itself, though not in every pair of runs.
    control = reproducible(deterministic=False, num_threads=threads)
    report = verify(faults.racing_accumulation, runs=20, control=control)
    assert report.outcome == "different", str(report)
    assert report.verdict is not None
    assert report.verdict.cause is not None
    if not report.verdict.notes:  # else it did not differ again while it was watched, and says so
        assert report.verdict.cause.reason is Reason.OPERATION
        assert "aten.index_put_" in str(report)
        assert f"faults.py:{blamed_line(faults.racing_accumulation)}" in str(report)
