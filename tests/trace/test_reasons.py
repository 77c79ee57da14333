"""Why two traces differ: each reason from a difference that shows it, and none from one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deterministic.trace.comparing.divergence import Divergence
from deterministic.trace.comparing.reasons import Cause, Reason, cause_of
from deterministic.trace.file.model import TRACE_LEVELS, Step, TraceLevel, Value
from tests.trace.differences import OPERATIONS, read, weights
from tests.trace.more_differences import OTHERS
from tests.trace.runs import Pair, Rec, moment, number, op, part, rec, step

SETTINGS_ON = {"torch.deterministic_algorithms": {"enabled": True, "warn_only": False}}
SETTINGS_OFF = {"torch.deterministic_algorithms": {"enabled": False, "warn_only": False}}


def cause(
    one: Rec | None,
    other: Rec | None,
    level: TraceLevel = "ops+inputs",
    environment: Any = None,
    settings: Any = None,
    *,
    tmp_path: Path,
    after: list[Rec] | None = None,
) -> Cause:
    """The cause of the difference of two records, as comparing traces of them finds it."""
    pair = Pair(tmp_path)
    runs = [
        [*([record] if record else []), *(after if after is not None else [op(1, line=99)])] for record in (one, other)
    ]
    found = pair.divergence([step(0, *runs[0])], [step(0, *runs[1])], levels=(level, level))
    return cause_of(found, environment or {}, settings)


FOUND = {**OPERATIONS, **OTHERS}


@pytest.mark.parametrize("name", FOUND)
def test_the_reason_is_the_one_that_the_difference_shows(name: str, tmp_path: Path) -> None:
    reason, one, other, level, because, remedy = FOUND[name]
    found = cause(one, other, level, tmp_path=tmp_path)
    assert found.reason is reason, found
    assert because in found.because
    assert remedy in found.remedy
    assert "\n" not in found.because + found.remedy
    assert not found.because.endswith((" ", ":", "."))


def test_every_reason_but_the_environment_is_among_them() -> None:
    assert {reason for reason, *_ in FOUND.values()} == {*Reason} - {Reason.ENVIRONMENT}


def test_a_record_that_one_run_has_not_at_the_end(tmp_path: Path) -> None:
    for one, other, gone in ((op(1), None, "second"), (None, op(1), "first")):
        found = cause(one, other, tmp_path=tmp_path, after=[])
        assert found.reason is Reason.CONTROL_FLOW
        assert found.because == f"the {gone} run has nothing there: it took another path, or ended earlier"


def test_the_level_digest_tells_nothing(tmp_path: Path) -> None:
    found = cause(weights("parameter", 1), weights("parameter", 2), "digest", tmp_path=tmp_path)
    assert found == Cause(
        Reason.UNKNOWN, 'the level "digest" shows only the step', 'Record with level="ops+inputs" to see more.'
    )


def test_a_parameter_is_not_written_past_what_was_not_recorded(tmp_path: Path) -> None:
    found = cause(weights("parameter", 1), weights("parameter", 2), "ops", tmp_path=tmp_path, after=[])
    assert (found.reason, found.because) == (Reason.UNKNOWN, "operations were not recorded")


def test_a_number_of_a_function_that_runs_no_operation_is_a_number(tmp_path: Path) -> None:
    returned = [[rec("returned", "", number(value)._replace(value=Value("output", "float")))] for value in (1.5, 2.5)]
    for level, reason in (("ops", Reason.NUMBER), ("values", Reason.UNKNOWN)):
        found = Pair(tmp_path).divergence(tails=returned, levels=(level, level))
        assert cause_of(found, {}).reason is reason


@pytest.mark.parametrize("level", TRACE_LEVELS)
def test_the_operation_is_blamed_only_where_all_that_it_read_is_known(level: TraceLevel, tmp_path: Path) -> None:
    one, other = op(1, "mm", read(5)), op(2, "mm", read(5))
    divergence = Divergence(Step(0, 0), level, first=moment(one), second=moment(other), values=[1], has_operations=True)
    assert (cause_of(divergence, {}).reason is Reason.OPERATION) == (level == "ops+inputs")


VERSION = {"torch": ("2.12", "2.13")}
HASH_SEED = {"environment.PYTHONHASHSEED": ("1", "2")}


@pytest.mark.parametrize("name", FOUND)
def test_another_environment_is_the_reason_only_where_nothing_else_is(name: str, tmp_path: Path) -> None:
    reason, one, other, level, *_ = FOUND[name]
    found = cause(one, other, level, {**VERSION, **HASH_SEED}, tmp_path=tmp_path)
    assert found.reason is (Reason.ENVIRONMENT if reason in (Reason.OPERATION, Reason.UNKNOWN) else reason)
    if found.reason is Reason.ENVIRONMENT:
        assert "(torch)" in found.because


@pytest.mark.parametrize("name", FOUND)
def test_the_hash_seed_matters_for_the_order_of_sets_alone(name: str, tmp_path: Path) -> None:
    reason, one, other, level, *_ = FOUND[name]
    found = cause(one, other, level, HASH_SEED, tmp_path=tmp_path)
    assert found.reason is reason
    expected = reason in (Reason.CONTROL_FLOW, Reason.NUMBER, Reason.OUTSIDE)
    assert found.remedy.startswith("PYTHONHASHSEED differed") == expected


def test_many_differences_of_the_environment_are_not_all_named(tmp_path: Path) -> None:
    environment = {f"setting.{index}": (0, 1) for index in range(9)}
    found = cause(op(1, "mm", read(5)), op(2, "mm", read(5)), environment=environment, tmp_path=tmp_path)
    assert "(setting.0, setting.1, setting.2 and 6 more)" in found.because


@pytest.mark.parametrize(
    ("name", "settings", "remedy"),
    [
        ("mm", SETTINGS_OFF, "were off: turn them on, reproducible(deterministic=True)"),
        ("mm", SETTINGS_ON, "were on: a kernel that is not covered"),
        ("mm", {"torch.deterministic_algorithms": {"enabled": True, "warn_only": True}}, "pass warn_only=False"),
        ("mm", {}, "if it was set, another kernel"),
        ("mm", None, "if it was set, another kernel"),
    ],
)
def test_the_remedy_for_an_operation_is_what_the_settings_leave(
    name: str, settings: Any, remedy: str, tmp_path: Path
) -> None:
    found = cause(op(1, name, read(5)), op(2, name, read(5)), settings=settings, tmp_path=tmp_path)
    assert found.reason is Reason.OPERATION
    assert remedy in found.remedy


def test_no_setting_is_named_for_an_operation_that_is_not_torchs_own(tmp_path: Path) -> None:
    one, other = (rec("operation", "mine.op.default", read(5), part("output", bits)) for bits in (1, 2))
    assert "no setting covers it" in cause(one, other, settings=SETTINGS_OFF, tmp_path=tmp_path).remedy


def test_steps_of_different_optimizers_without_records(tmp_path: Path) -> None:
    found = Pair(tmp_path).divergence([step(0), step(0, optimizer=1)], [step(0), step(1)])
    assert cause_of(found, {}).because == "the runs made steps of different optimizers there"
