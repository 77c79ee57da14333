"""Two traces compared: outcomes, environments, traces that were not finished, what ended a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deterministic import diff
from deterministic.errors import TraceError
from deterministic.trace.comparing.diff import environment_of
from deterministic.trace.comparing.reasons import Reason
from tests.trace.runs import OTHERS, STEPS, Pair, killed, notes, number, op, ops, part, reason, rec, step, write


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


# Outcomes


def test_equal_traces_are_the_same(pair: Pair) -> None:
    pair.write(STEPS, STEPS)
    found = diff(*pair.paths)
    assert (found.outcome, bool(found), found.exit_code) == ("same", False, 0)
    assert str(found) == "the same: a.trace and b.trace, 4 steps, compared at the level 'ops'"
    assert not diff(str(pair.paths[0]), str(pair.paths[0]))


def test_different_traces_are_different(pair: Pair) -> None:
    pair.write(STEPS, OTHERS)
    found = diff(*pair.paths)
    assert (found.outcome, bool(found), found.exit_code) == ("different", True, 1)
    assert str(found).startswith("different: b.trace differs from a.trace first at step 2 of 4\n")
    data = json.loads(found.to_json(indent=1), parse_constant=pytest.fail)
    assert data == {"outcome": "different", "verdicts": [found.verdicts[0].as_data()]}


def test_other_hashes_are_refused(pair: Pair) -> None:
    write(pair.paths[0], STEPS)
    write(pair.paths[1], STEPS, header={"hashes": ["one", "three"]})
    with pytest.raises(TraceError) as refused:
        diff(*pair.paths)
    assert str(refused.value).splitlines() == [
        "these traces have different hashes, which are never comparable",
        "  a.trace: ['one', 'two']",
        "  b.trace: ['one', 'three']",
        "Record both with the same version of this library.",
    ]


def test_nothing_that_was_compared_is_no_sameness(pair: Pair) -> None:
    for footer, outcome in (({"compared": 0}, "could not tell"), ({"compared": 1}, "same")):
        for path in pair.paths:
            write(path, footer=footer)
        found = diff(*pair.paths)
        assert (found.outcome, bool(found), found.exit_code) == (outcome, outcome != "same", 2 if found else 0)
    write(pair.paths[0], footer={"compared": 0})
    assert diff(*pair.paths).outcome == "same"
    write(pair.paths[1], footer={"compared": 0})
    assert "nothing was recorded that could be compared: " in notes(diff(*pair.paths))[0]
    pair.write([], [], tails=(ops(1), ops(1)), footer={"compared": 0})
    assert diff(*pair.paths).outcome == "same"


# Environments


def test_the_environment_is_versions_and_settings_by_name() -> None:
    one = {
        "versions": {"torch": "2.12", "python": "3.11", "gone": None},
        "settings": {"torch.threads": {"num_threads": 2}, "deep": {"a": {"b": [1]}}, "flat": 1},
        "generators": {"torch.cpu": "1"},
        "rank": 0,
    }
    other = {
        "versions": {"torch": "2.13", "python": "3.11", "new": 1},
        "settings": {"torch.threads": {"num_threads": 4}, "deep": {"a": {"b": [1]}}, "flat": {"now": 1}},
        "generators": {"torch.cpu": "2"},
        "rank": 1,
    }
    assert environment_of(one, one) == {}
    assert environment_of(one, other) == {
        "torch": ("2.12", "2.13"),
        "new": (None, 1),
        "torch.threads.num_threads": (2, 4),
        "flat": (1, None),
        "flat.now": (None, 1),
    }
    assert environment_of({}, {"versions": {"torch": 1}}) == {"torch": (None, 1)}


def test_an_environment_that_differs_is_shown_and_is_no_difference_itself(pair: Pair) -> None:
    for path, threads in zip(pair.paths, (2, 4), strict=True):
        write(path, STEPS, header={"settings": {"torch.threads": {"num_threads": threads}}})
    found = diff(*pair.paths)
    assert found.outcome == "same"
    assert str(found).splitlines()[1:] == ["  environment       torch.threads.num_threads: 2 / 4"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{}, {}], Reason.UNKNOWN),
        ([{"torch.threads": {"num_threads": 1}}, {"torch.threads": {"num_threads": 2}}], Reason.ENVIRONMENT),
        ([{"environment": {"PYTHONHASHSEED": "0"}}, {"environment": {}}], Reason.UNKNOWN),
    ],
)
def test_the_environment_is_the_reason_for_what_it_changes(pair: Pair, settings: Any, expected: Reason) -> None:
    for path, steps, said in zip(pair.paths, (STEPS, OTHERS), settings, strict=True):
        write(path, steps, header={"settings": said})
    assert reason(diff(*pair.paths)) is expected


def test_the_settings_of_the_traces_are_heeded(pair: Pair) -> None:
    runs = [[step(0, rec("operation", "aten.mm", part("input", 5), part("output", bits)))] for bits in (1, 2)]
    for enabled, remedy in ((False, "were off: turn them on"), (True, "were on: a kernel that is not covered")):
        said = {"settings": {"torch.deterministic_algorithms": {"enabled": enabled, "warn_only": False}}}
        for path, steps in zip(pair.paths, runs, strict=True):
            write(path, steps, level="ops+inputs", header=said)
        found = diff(*pair.paths).verdicts[0].cause
        assert found is not None
        assert remedy in found.remedy


def test_settings_of_another_form_are_no_crash(pair: Pair) -> None:
    runs = [[step(0, rec("operation", "aten.mm", part("input", 5), part("output", bits)))] for bits in (1, 2)]
    for said in ([1], "text", {"torch.deterministic_algorithms": 1}, {"torch.deterministic_algorithms": None}, None):
        for path, steps in zip(pair.paths, runs, strict=True):
            write(path, steps, level="ops+inputs", header={"settings": said})
        assert diff(*pair.paths).outcome == "different"
    assert environment_of({"settings": {"x": float("inf")}}, {}) == {"x": ("inf", None)}


# Traces that were not finished


@pytest.mark.parametrize("level", ["ops", "digest"])
@pytest.mark.parametrize("swapped", [False, True])
def test_an_unfinished_trace_is_the_same_up_to_where_it_ends(pair: Pair, swapped: bool, level: Any) -> None:
    paths = pair.paths[:: -1 if swapped else 1]
    write(paths[0], STEPS, level=level)
    killed(paths[1], STEPS[:2], level=level)
    found = diff(*pair.paths)
    assert (found.outcome, found.exit_code, bool(found)) == ("could not tell", 2, True)
    name = "a.trace" if swapped else "b.trace"
    assert notes(found) == [
        f"{name} was not finished: its process was killed, or is still writing",
        "everything is the same up to where it ends, at step 2",
    ]
    data = found.verdicts[0].as_data()
    assert (data["steps"], data["ended"], data["first_difference"]) == (
        2,
        {"optimizer": 0, "number": 2, "part": 0},
        None,
    )


def test_a_difference_before_an_unfinished_trace_ends_is_a_difference(pair: Pair) -> None:
    write(pair.paths[0], STEPS)
    killed(pair.paths[1], OTHERS[:3])
    found = diff(*pair.paths)
    assert found.outcome == "different"
    assert notes(found) == ["b.trace was not finished: its process was killed, or is still writing"]
    data = found.verdicts[0].as_data()
    first = data["first_difference"]
    assert (first["segment"], first["later_steps"], data["steps"]) == (2, 0, 3)


def test_a_step_that_an_unfinished_trace_left_out_is_a_difference(pair: Pair) -> None:
    write(pair.paths[0], STEPS)
    killed(pair.paths[1], [STEPS[0], STEPS[2]])
    assert diff(*pair.paths).outcome == "different"


def test_a_trace_that_was_killed_after_its_last_step_or_beside_another(pair: Pair) -> None:
    write(pair.paths[0], STEPS, ops(5))
    killed(pair.paths[1], STEPS)
    assert notes(diff(*pair.paths))[-1] == "everything is the same up to where it ends, after step 3"
    killed(pair.paths[0], STEPS)
    found = diff(*pair.paths)
    assert (found.outcome, len(notes(found))) == ("could not tell", 3)
    killed(pair.paths[0], [])
    killed(pair.paths[1], [])
    assert notes(diff(*pair.paths))[-1] == "everything is the same up to where it ends"


def test_a_trace_that_was_killed_within_a_cut_step(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deterministic.trace.file.payloads.LONGEST_SEGMENT", 4)
    write(pair.paths[0], [step(0, *ops(*range(11)))])
    write(pair.paths[1], [], ops(*range(10)), footer=None)  # two parts of four, and two records that were lost
    found = diff(*pair.paths)
    assert (found.outcome, notes(found)[-1]) == (
        "could not tell",
        "everything is the same up to where it ends, at step 0",
    )
    write(pair.paths[1], [], ops(0, 1, 2, 3, 4, 50, 6, 7, 8), footer=None)
    found = diff(*pair.paths)
    assert found.outcome == "different"
    assert str(found).splitlines()[0].endswith("first at step 0 of 1")


@pytest.mark.parametrize("lost", [1, 30, 200])
def test_a_last_chunk_that_is_cut_is_as_if_it_was_not_there(pair: Pair, lost: int) -> None:
    pair.write(STEPS, STEPS)
    data = pair.paths[1].read_bytes()
    pair.paths[1].write_bytes(data[:-lost])
    found = diff(*pair.paths)
    assert found.outcome == "could not tell"
    assert "b.trace was not finished" in notes(found)[0]


# What ended a run


def test_an_exception_that_ended_one_run_is_a_difference(pair: Pair) -> None:
    write(pair.paths[0], STEPS)
    write(pair.paths[1], STEPS, footer={"raised": "ValueError"})
    found = diff(*pair.paths)
    assert (found.outcome, reason(found)) == ("different", Reason.CONTROL_FLOW)
    assert "the first run ended with no exception, the second with ValueError" in str(found)
    assert str(found).splitlines()[0] == "different: b.trace differs from a.trace first at the end"
    assert notes(found) == ["b.trace ended with a ValueError"]
    write(pair.paths[0], STEPS, footer={"raised": "ValueError"})
    found = diff(*pair.paths)
    assert found.outcome == "could not tell"
    assert notes(found) == [
        "a.trace ended with a ValueError",
        "b.trace ended with a ValueError",
        "everything is the same up to there; what would have come after is not known",
    ]


def test_an_exception_within_a_step_is_found_at_the_record_after_it(pair: Pair) -> None:
    write(pair.paths[0], STEPS)
    write(pair.paths[1], STEPS[:1], ops(1), footer={"raised": "ValueError"})
    text = str(diff(*pair.paths))
    assert "first at step 1 of 4" in text
    assert "train.py:1" in text
    assert "the second run has nothing there" in text
    assert "b.trace ended with a ValueError" in text


def generators(begin: str, end: str) -> dict[str, Any]:
    return {
        "header": {"generators": {"torch.cpu": begin, "numpy": "1"}},
        "footer": {"generators": {"torch.cpu": end, "numpy": "1"}},
    }


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        (("1", "2"), ("1", "2"), "same"),
        (("1", "2"), ("1", "3"), "different"),
        (("1", "2"), ("4", "5"), "same"),  # they began differently: that is no difference of what was run
        (("1", "2"), ("4", "2"), "same"),
    ],
)
def test_generators_that_began_alike_must_end_alike(pair: Pair, one: Any, other: Any, outcome: str) -> None:
    for path, states in zip(pair.paths, (one, other), strict=True):
        write(path, STEPS, **generators(*states))
    found = diff(*pair.paths)
    assert found.outcome == outcome
    if outcome == "different":
        assert reason(found) is Reason.GENERATOR
        assert "but torch.cpu ended in another state" in str(found)
        assert str(found).splitlines()[0].endswith("first at the end")
        assert "then" not in [name for name, _ in found.verdicts[0].rows()]


@pytest.mark.parametrize(
    ("one", "other", "is_named"),
    [
        (("1", "2"), ("4", "5"), True),
        (("1", "2"), ("2", "5"), True),  # the second run in one process goes on where the first ended
        (("1", "2"), ("1", "5"), False),  # seeded before
        (("1", "2"), ("4", "2"), False),  # seeded within
        (("1", "1"), ("4", "5"), False),
        (("1", "2"), ("4", "4"), False),
        (("1", "2"), ("4", None), False),  # the trace was not finished
    ],
)
def test_a_generator_of_python_s_that_nobody_seeded_is_named_where_it_may_be_the_reason(
    pair: Pair, one: Any, other: Any, is_named: bool
) -> None:
    for path, index, (begin, end) in zip(pair.paths, (3, 5), (one, other), strict=True):
        begun, ended = ({"generators": {"python.random": state, "numpy.random": "1"}} for state in (begin, end))
        records = [op(1, "select.int", number(index, "index")), op(index, "sum")]
        write(path, [step(0, *records)], header=begun, footer=None if end is None else ended)
    cause = diff(*pair.paths).verdicts[0].cause
    assert cause is not None
    assert cause.reason is Reason.NUMBER
    told = "Python's generator (random) was used without having been seeded: "
    assert cause.remedy.startswith(told) == is_named
    assert "numpy" not in cause.remedy


def test_a_generator_that_ended_differently_is_a_difference_where_nothing_else_was_recorded(pair: Pair) -> None:
    for path, end in zip(pair.paths, ("2", "3"), strict=True):
        states = generators("1", end)
        write(path, header=states["header"], footer={**states["footer"], "compared": 0})
    assert diff(*pair.paths).outcome == "different"


def test_steps_that_were_not_seen_are_mentioned(pair: Pair) -> None:
    write(pair.paths[0], STEPS, footer={"steps_of_other_threads": 1})
    write(pair.paths[1], STEPS, footer={"steps_of_other_threads": 2})
    assert notes(diff(*pair.paths)) == [
        "a.trace: 1 optimizer step of other threads not recorded",
        "b.trace: 2 optimizer steps of other threads not recorded",
    ]
