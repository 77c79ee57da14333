"""Steps, records and counts in the words of a verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deterministic.trace.comparing.divergence import Comparison, Divergence
from deterministic.trace.comparing.verdict import Verdict, when
from deterministic.trace.file.model import NO_OPTIMIZER, Step
from tests.trace.runs import Rec, moment, op, rec

LATER = [
    (
        Divergence(Step(0, 1), "ops", later_records=1, later_steps=1),
        "1 later record of this step differs; 1 later step differs",
    ),
    (Divergence(Step(0, 1), "ops", later_records=2000), "2,000 later records of this step differ"),
    (Divergence(Step(0, 1), "ops", later_steps=2), "2 later steps differ"),
    (Divergence(Step(0, 1), "ops"), "nothing after it differs"),
    (
        Divergence(Step(0, 1), "ops", only_first=1, realigned=True),
        "1 record only in the first run; the other records of this step follow in the same order and are the same",
    ),
    (
        Divergence(Step(0, 1), "ops", only_first=3, only_second=1, later_records=1, realigned=True),
        "3 records only in the first run, 1 record only in the second run; 1 later record of this step differs",
    ),
    (Divergence(Step(0, 1), "ops", only_second=2), "2 records only in the second run"),
    (Divergence(Step(-1, 0), "ops", later_records=1), "1 later record differs"),
]


@pytest.mark.parametrize(("divergence", "text"), LATER)
def test_what_differs_later_is_counted_in_words(divergence: Divergence, text: str) -> None:
    rows = dict(Verdict("different", ("a", "b"), Comparison("ops", 3, divergence)).rows())
    assert rows == {"then": text}


@pytest.mark.parametrize(
    ("at", "comparison", "text"),
    [
        (None, None, "at the end"),
        (Step(0, 7), Comparison("ops", 10), "at step 7 of 10"),
        (Step(0, 7), None, "at step 7"),
        (Step(1, 7), None, "at step 7 of optimizer 1"),
        (
            Step(1, 7),
            Comparison("ops", 10, Divergence(Step(1, 7), "ops", optimizer="SGD")),
            "at step 7 of optimizer 1 (SGD)",
        ),
        (
            Step(0, 7),
            Comparison("ops", 10, Divergence(None, "ops", optimizer="SGD"), optimizers=2),
            "at step 7 of optimizer 0 (SGD)",
        ),
        (Step(0, 7), Comparison("ops", 10, Divergence(None, "ops", optimizer="SGD"), optimizers=1), "at step 7 of 10"),
        (Step(NO_OPTIMIZER, 7), Comparison("ops", 7, optimizers=1), "after step 6"),
        (Step(NO_OPTIMIZER, 7), Comparison("ops", 7, optimizers=2), "after 7 steps"),
        (Step(NO_OPTIMIZER, 1), Comparison("ops", 1, optimizers=2), "after 1 step"),
        (Step(NO_OPTIMIZER, 0), None, "in the run"),
        (Step(NO_OPTIMIZER, 0), Comparison("ops", 7), "before the first step"),
        (Step(NO_OPTIMIZER, 0), Comparison("ops", 0), "at the end"),
    ],
)
def test_when(at: Step | None, comparison: Comparison | None, text: str) -> None:
    assert when(at, comparison) == text


NAMES = [
    (rec("parameter", "SGD"), "parameters of SGD"),
    (rec("optimizer state", "SGD"), "optimizer state of SGD"),
    (rec("input", "GPT"), "input of GPT"),
    (rec("returned", ""), "returned"),
    (rec("observed", "loss"), "observed loss"),
    (
        rec("module", "Linear", phase="forward", module="b", module_class="Linear"),
        "result of Linear   forward in b (Linear)",
    ),
    (
        rec("module", "gradient of output 0", phase="backward", module="b", module_class="Linear"),
        "gradient of output 0   backward of b (Linear)",
    ),
    (rec("operation", "aten.mm.default", phase="backward", node="MmBackward0"), "aten.mm   backward, MmBackward0"),
    (rec("operation", "aten.mm.out", phase="optimizer"), "aten.mm.out   optimizer"),
    (rec("operation", "aten.mm.out", phase="forward", root_class="GPT"), "aten.mm.out   forward in GPT"),
]


@pytest.mark.parametrize(("record", "text"), NAMES)
def test_a_record_in_words(record: Rec, text: str) -> None:
    divergence = Divergence(Step(0, 0), "ops", first=moment(record), records=3)
    rows = Verdict("different", ("a", "b"), Comparison("ops", 3, divergence)).rows()
    assert rows[0] == ("first difference", f"{text}   (record 1 of 3)")


def test_a_record_of_a_step_that_was_cut_says_in_which_part() -> None:
    divergence = Divergence(Step(0, 0), "ops", first=replace(moment(op(1), 1234), part=2), records=65536)
    rows = Verdict("different", ("a", "b"), Comparison("ops", 3, divergence)).rows()
    assert rows[0][1].endswith("(record 1,235 of 65,536 in part 3 of the step)")
