"""The first step in which two traces differ, whatever steps one of them lacks and wherever a step was cut."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from deterministic.trace.comparing import compare as module
from deterministic.trace.comparing.divergence import Comparison
from deterministic.trace.file import payloads
from deterministic.trace.file.model import NO_OPTIMIZER, TRACE_LEVELS, Segment, Step, TraceLevel
from deterministic.trace.file.store import TraceWriter
from tests.trace.runs import FOOTER, HEADER, Pair, Rec, changed, compared, counts, lines, op, ops, part, rec, step

A = ops(1, 2, 3, 4, 5, 6)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


# Steps


def test_a_missing_step_is_named_and_those_after_it_are_compared_with_their_own(pair: Pair) -> None:
    one = [step(count, *ops(count), weight=count) for count in range(10)]
    other = [ended for ended in one if ended.number != 2]
    for a, b, first, second in ((one, other, "train.py:0", None), (other, one, None, "train.py:0")):
        found = pair.compare(a, b)
        divergence = found.divergence
        assert divergence is not None
        assert (divergence.step, divergence.segment, lines(divergence)) == (Step(0, 2), 2, (first, second))
        assert (divergence.only_first, divergence.only_second) == ((2, 0) if first else (0, 2))
        assert (divergence.later_steps, found.steps) == (0, 10)


def test_a_missing_step_is_missed_whatever_is_in_it(pair: Pair) -> None:
    one = [step(count, *A) for count in range(4)]
    found = pair.compare(one, [one[0], *one[2:]])
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.later_steps, found.steps) == (Step(0, 1), 0, 4)


def test_a_finished_trace_that_has_no_end_ends_where_it_does(tmp_path: Path) -> None:
    paths = [tmp_path / "a.trace", tmp_path / "b.trace"]
    for path, count in zip(paths, (2, 1), strict=True):
        with TraceWriter(path, {**HEADER, "level": "ops"}) as writer:
            for number in range(count):
                new = [] if number else [A[0].site]
                writer.write(Segment(Step(0, number), bytes(16), bytes(16), [0], [1]), new)
            writer.close(dict(FOOTER))
    for one, other in (paths, paths[::-1]):
        found, _ = compared(one, other)
        assert (found.ended, found.steps) == (None, 2)
        assert found.divergence is not None
        assert found.divergence.step == Step(0, 1)


def test_later_steps_are_those_that_differ_and_those_that_one_trace_lacks(pair: Pair) -> None:
    one = [step(count, *ops(count)) for count in range(8)]
    other = [step(count, *ops(count + 50 * (count in (1, 3)))) for count in range(8) if count != 5]
    found = pair.compare(one, other)
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.later_steps, found.steps) == (Step(0, 1), 2, 8)


def test_a_run_that_ends_earlier_differs_where_it_ends(pair: Pair) -> None:
    one = [step(count, *ops(7, 8)) for count in range(6)]
    end = rec("returned", "", part("output", 3))
    found = pair.compare(one, one[:4], tails=([end], [end]))
    divergence = found.divergence
    assert divergence is not None
    assert (divergence.step, divergence.segment, divergence.later_steps, found.steps) == (Step(0, 4), 4, 1, 6)
    assert divergence.first is not None
    assert divergence.second is not None
    assert (divergence.first.site.place, divergence.second.site.kind) == ("train.py:0", "returned")
    assert lines(pair.divergence(one, one[:4])) == ("train.py:0", None)
    assert lines(pair.divergence(one[:4], one)) == (None, "train.py:0")


def test_a_run_that_ended_within_a_step_differs_at_the_record_after_its_last(pair: Pair) -> None:
    one = [step(count, *A, weight=count) for count in range(3)]
    found = pair.divergence(one, one[:1], tails=((), A[:4]))
    assert (found.step, lines(found)) == (Step(0, 1), ("train.py:4", None))
    assert (found.first and found.first.index, found.only_first, found.later_steps) == (4, 3, 1)
    found = pair.divergence(one[:1], one, tails=(A[:4], ()))
    assert (found.step, lines(found), found.optimizer) == (Step(0, 1), (None, "train.py:4"), "SGD")
    assert (found.records, found.only_second, found.later_steps) == (4, 3, 1)


def gan(*order: str) -> list[Any]:
    """Steps of two optimizers, "d" and "g", in an order, each with records of its own."""
    numbers = {"d": itertools.count(), "g": itertools.count()}
    found = []
    for name in order:
        optimizer, line = ("dg".index(name), 10 * (1 + "dg".index(name)))
        count = next(numbers[name])
        records = [op(count, line=line), op(count, line=line + 1)]
        found.append(step(count, *records, optimizer=optimizer, weight=count, cls=("SGD", "Adam")[optimizer]))
    return found


def test_several_optimizers_are_aligned_each_by_its_own_steps(pair: Pair) -> None:
    one = gan(*"dgdgdg")
    assert pair.compare(one, one) == Comparison("ops", 6, optimizers=2, has_operations=True)
    other = gan(*"dgddgg")
    found = pair.compare(one, other)
    divergence = found.divergence
    assert divergence is not None
    assert (divergence.segment, divergence.step) == (3, Step(1, 1))
    assert lines(divergence) == ("train.py:20", "train.py:10")
    assert (divergence.optimizer, divergence.later_steps, found.steps, found.optimizers) == ("Adam", 0, 6, 2)


def test_a_step_of_the_second_optimizer_that_is_left_out_is_found(pair: Pair) -> None:
    found = pair.compare(gan(*"dgdgdg"), gan(*"dgddg"))
    divergence = found.divergence
    assert divergence is not None
    assert (divergence.step, lines(divergence)) == (Step(1, 1), ("train.py:20", "train.py:10"))
    assert (divergence.later_steps, found.steps) == (1, 6)  # the third of "g" is there once


def test_steps_that_one_trace_lacks_are_not_waited_for_forever(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FARTHEST_STEP", 3)
    one = [step(count, *ops(count)) for count in range(30)]
    found = pair.compare(one, [*one[:2], *one[20:]])
    assert found.divergence is not None
    assert (found.divergence.step, found.steps) == (Step(0, 2), 30 + 7)  # those that came too late count twice
    monkeypatch.setattr(module, "_FARTHEST_STEP", 20)
    found = pair.compare(one, [*one[:2], *one[20:]])
    assert found.divergence is not None
    assert (found.divergence.later_steps, found.steps) == (17, 30)


def test_what_follows_the_last_step_is_compared(pair: Pair) -> None:
    steps = [step(0, *A)]
    found = pair.divergence(steps, steps, tails=(ops(1, 2), ops(1, 3)))
    assert (found.step, found.segment, lines(found)[0]) == (Step(NO_OPTIMIZER, 1), 1, "train.py:1")


# Steps that were cut because they grew too long


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "LONGEST_SEGMENT", 4)


@pytest.mark.usefixtures("short_segments")
def test_a_difference_in_a_cut_step_is_found_and_equal_parts_are_not_loaded(pair: Pair) -> None:
    one = ops(*range(11))
    pair.write([step(0, *one)], [step(0, *changed(one, 9, 10))])
    found, loaded = compared(*pair.paths)
    assert found.divergence is not None
    assert (found.divergence.step, found.steps, loaded) == (Step(0, 0), 1, 1)
    moment = found.divergence.first
    assert moment is not None
    assert (moment.site.place, moment.part, moment.index) == ("train.py:9", 2, 1)
    assert (found.divergence.records, found.divergence.later_records) == (3, 1)


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("at", [at for at in range(12) if at % 4 != 3])  # what a cut parts is not aligned
def test_an_inserted_record_shifts_all_cuts_behind_it(pair: Pair, at: int) -> None:
    one = ops(*range(11))
    other = [*one[:at], op(0, line=99), *one[at:]]
    for a, b, wanted in ((one, other, (0, 1, 0)), (other, one, (1, 0, 0))):
        found = pair.divergence([step(0, *a)], [step(0, *b)])
        assert counts(found) == wanted
        place = f"train.py:{at}" if at < 11 else None
        assert lines(found) == ((place, "train.py:99") if a is one else ("train.py:99", place))


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("levels", [*itertools.permutations(TRACE_LEVELS, 2)])
@pytest.mark.parametrize("values", [0, 3, 4, 8, 9])
def test_levels_cut_a_step_at_other_places_which_is_no_difference(
    pair: Pair, levels: tuple[TraceLevel, TraceLevel], values: int
) -> None:
    records = []
    for index in range(values):
        records += [*ops(*range(index % 3)), rec("observed", "loss", part("output", index, "float32[]"))]
    records += ops(*range(7))
    steps = [step(0, *records), step(1, *ops(1))]
    assert pair.compare(steps, steps, tails=(records, records), levels=levels).divergence is None
    if values:
        last = next(record for record in reversed(records) if record.site.kind == "observed")
        other = [record if record is not last else Rec(last.site, (77,)) for record in records]
        found = pair.divergence(steps, [step(0, *other), steps[1]], tails=(records, records), levels=levels)
        assert (found.step, found.later_steps) == (Step(0, 0), 0)
        assert (found.first is None) == ("digest" in levels)
