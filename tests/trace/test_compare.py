"""The first difference of two traces, in the order in which things happened."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deterministic.trace.comparing import compare as module
from deterministic.trace.comparing.cursor import common_prefix, common_subsequence
from deterministic.trace.comparing.divergence import Comparison
from deterministic.trace.file.model import Step
from tests.trace.runs import Pair, Rec, changed, compared, counts, lines, op, ops, part, rec, step, write
from tests.trace.traces import SETTINGS

A = ops(1, 2, 3, 4, 5, 6)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


# One step


def test_equal_traces_have_no_divergence_and_nothing_is_loaded(pair: Pair) -> None:
    steps = [step(count, *A, weight=count) for count in range(5)]
    pair.write(steps, steps, tails=(A, A))
    found, loaded = compared(*pair.paths)
    assert found == Comparison("ops", steps=5, optimizers=1, has_operations=True)
    assert loaded == 0


def test_only_the_segment_that_differs_is_loaded_and_those_after_it_are_counted(pair: Pair) -> None:
    one = [step(count, *A, weight=count) for count in range(6)]
    other = [step(count, *(A if count != 2 else changed(A, 3)), weight=count + (count > 4)) for count in range(6)]
    pair.write(one, other)
    found, loaded = compared(*pair.paths)
    assert found.divergence is not None
    assert (found.divergence.segment, found.divergence.step, found.divergence.later_steps) == (2, Step(0, 2), 1)
    assert (found.divergence.optimizer, found.divergence.has_operations) == ("SGD", True)
    assert loaded == 1


def test_the_first_other_value_in_execution_order_is_the_divergence(pair: Pair) -> None:
    found = pair.divergence([step(0, *A)], [step(0, *changed(A, 2, 4, 5))])
    assert lines(found) == ("train.py:2", "train.py:2")
    assert (found.first and found.first.index, found.values, found.records) == (2, [0], 6)
    assert counts(found) == (0, 0, 2)
    assert found.first is not None
    assert found.second is not None
    assert (list(found.first.hashes), list(found.second.hashes)) == ([3], [103])
    assert not found.realigned


def test_a_value_before_another_structure_is_first(pair: Pair) -> None:
    other = changed(A, 1)
    other.insert(3, op(9, line=9))
    found = pair.divergence([step(0, *A)], [step(0, *changed(other, 5))])
    assert (lines(found)[0], found.values) == ("train.py:1", [0])
    assert counts(found) == (0, 1, 1)


def test_another_structure_before_a_value_is_first(pair: Pair) -> None:
    other = changed(A, 3)
    other.insert(1, op(9, line=9))
    found = pair.divergence([step(0, *A)], [step(0, *other)])
    assert (lines(found), found.values) == (("train.py:1", "train.py:9"), [])
    assert counts(found) == (0, 1, 1)
    assert found.realigned


MOVED: dict[str, tuple[list[int], list[int], tuple[int, int, int]]] = {
    # The lines of the records from line 2 on, in each run; what is then in one run alone.
    "inserted": ([2, 3, 4], [9, 2, 3, 4], (0, 1, 0)),
    "missing": ([2, 3, 4], [3, 4], (1, 0, 0)),
    "repeated": ([3, 4], [2, 3, 4], (0, 1, 0)),
    "repeated block": ([7, 8], [1, 2, 1, 2, 7, 8], (0, 4, 0)),
    "swapped": ([2, 3, 4], [3, 2, 4], (1, 1, 0)),
    "replaced": ([2, 3, 4], [9, 3, 4], (1, 1, 0)),
    "at the end": ([], [5, 6], (0, 2, 0)),
    "nothing alike": ([2, 3], [5, 6, 7], (2, 3, 0)),
}


@pytest.mark.parametrize("name", MOVED)
def test_what_follows_a_moved_record_is_found_again(pair: Pair, name: str) -> None:
    begin = [op(line, line=line) for line in (1, 2)]
    one, other, expected = MOVED[name]
    first, second = ([*begin, *(op(line, line=line) for line in side)] for side in (one, other))
    for a, b, wanted in ((first, second, expected), (second, first, (expected[1], expected[0], expected[2]))):
        found = pair.divergence([step(0, *a)], [step(0, *b)])
        assert counts(found) == wanted
        assert (found.first and found.first.index, found.second and found.second.index) == (
            2 if len(a) > 2 else None,
            2 if len(b) > 2 else None,
        )
        assert found.realigned == (name not in ("at the end", "nothing alike"))


def test_a_difference_behind_a_moved_record_is_counted_and_alignment_goes_on_past_the_window(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WINDOW", 8)
    one = ops(*range(100))
    other = changed(one, 50, 99)
    other.insert(90, op(0, line=1000))
    other.insert(10, op(0, line=1000))
    found = pair.divergence([step(0, *one)], [step(0, *other)])
    assert counts(found) == (0, 2, 2)


@SETTINGS
@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_the_alignment_is_a_longest_common_subsequence(a: list[int], b: list[int]) -> None:
    in_a, in_b = common_subsequence(np.array(a, np.uint64), np.array(b, np.uint64))
    assert [a[i] for i in in_a] == [b[i] for i in in_b]
    assert all(x < y for side in (in_a, in_b) for x, y in itertools.pairwise(side.tolist()))
    assert len(in_a) == longest(a, b)


def longest(a: list[int], b: list[int]) -> int:
    """The length by the textbook."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


RECORDS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=14)


@SETTINGS
@given(RECORDS, RECORDS, st.sampled_from([2, 4, 4096]))
def test_the_first_difference_is_the_one_that_a_slow_search_finds(
    tmp_path_factory: pytest.TempPathFactory, a: list[Any], b: list[Any], at_once: int
) -> None:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    runs = [[op(output, line=line) for line, output in side] for side in (a, b)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        patch.setattr(module, "_WINDOW", at_once)
        found = pair.compare([step(0, *runs[0])], [step(0, *runs[1])]).divergence
    shorter = min(len(a), len(b))
    index = next((i for i in range(shorter) if a[i][1] != b[i][1]), shorter)
    if index == len(a) == len(b):
        assert found is None  # the same was computed, at whatever lines
        return
    parts = index < shorter and a[index][0] != b[index][0]
    while index and (index == shorter or parts) and a[index - 1][0] != b[index - 1][0]:
        index -= 1  # where the lines parted that led there
        parts = True
    assert found is not None
    for moment, side in ((found.first, a), (found.second, b)):
        assert (moment and (moment.site.place, moment.hashes[0], moment.index)) == (
            (f"train.py:{side[index][0]}", side[index][1], index) if index < len(side) else None
        )
    same_site = index < min(len(a), len(b)) and a[index][0] == b[index][0]
    assert found.values == ([0] if same_site else [])


# Values of a record


def read(output: int, *inputs: tuple[int, str], name: str = "cat", outputs: int = 1) -> Rec:
    values = [part("input", bits, name=f"tensors[{i}]", origin=origin) for i, (bits, origin) in enumerate(inputs)]
    values += [part("output", output + i) for i in range(outputs)]
    return rec("operation", f"aten.{name}", *values, place="train.py:1")


def test_where_an_input_came_from_is_no_difference(pair: Pair) -> None:
    one, other = read(1, (5, "outside"), (6, "")), read(1, (5, "uninitialised a.py:3"), (6, "outside"))
    assert pair.compare([step(0, one)], [step(0, other)], levels=("ops+inputs",) * 2).divergence is None
    assert pair.compare([step(0, one)], [step(0, other)]).divergence is None


@pytest.mark.parametrize("changed", range(3))
def test_outputs_of_one_type_are_told_apart_where_the_inputs_are_not_recorded_alike(pair: Pair, changed: int) -> None:
    one, other = read(1, (5, "outside"), outputs=3), read(1, (5, ""), outputs=3)
    assert pair.compare([step(0, one)], [step(0, other)]).divergence is None
    hashes = [*other.hashes]
    hashes[1 + changed] = 100
    found = pair.divergence([step(0, one)], [step(0, Rec(other.site, tuple(hashes)))])
    assert found.values == [1 + changed]


def test_inputs_are_compared_where_both_have_them_and_never_accused_where_one_has(pair: Pair) -> None:
    one, other = read(1, (5, ""), (6, "outside")), read(1, (50, ""), (6, "outside"))
    assert pair.compare([step(0, one)], [step(0, other)], levels=("ops", "ops+inputs")).divergence is None
    found = pair.divergence([step(0, one)], [step(0, other)], levels=("ops+inputs",) * 2)
    assert found.values == [0]
    outside = read(1, (5, ""), (60, "outside"))
    assert pair.divergence([step(0, one)], [step(0, outside)], levels=("ops", "ops+inputs")).values == [0]
    assert pair.divergence([step(0, one)], [step(0, outside)], levels=("ops+inputs", "ops")).values == [1]


def test_an_input_of_another_type_is_a_difference_whatever_its_hash(pair: Pair) -> None:
    one = rec("operation", "aten.sum", part("input", 0, "float32[2]", "self"), part("output", 1))
    other = rec("operation", "aten.sum", part("input", 0, "float32[3]", "self x.weight"), part("output", 1))
    found = pair.divergence([step(0, one)], [step(0, other)], levels=("ops+inputs",) * 2)
    assert (found.values, found.first is not None, found.second is not None) == ([0], True, True)
    named = rec("operation", "aten.sum", part("input", 0, "float32[2]", "self x.weight"), part("output", 1))
    assert pair.compare([step(0, one)], [step(0, named)], levels=("ops+inputs",) * 2).divergence is None


def test_an_input_more_is_another_record_where_all_inputs_are_recorded(pair: Pair) -> None:
    found = pair.divergence(
        [step(0, read(1, (5, "")))], [step(0, read(1, (5, ""), (6, "")))], levels=("ops+inputs",) * 2
    )
    assert (found.values, found.only_first, found.only_second) == ([], 1, 1)


def test_sites_may_be_numbered_differently(pair: Pair) -> None:
    write(pair.paths[0], [step(0, *A)])
    write(pair.paths[1], [step(0, *changed(A, 4))], first_sites=[record.site for record in reversed(A)])
    found = compared(*pair.paths)[0].divergence
    assert found is not None
    assert lines(found) == ("train.py:4", "train.py:4")
    write(pair.paths[1], [step(0, *A)], first_sites=[record.site for record in reversed(A)])
    assert compared(*pair.paths) == (Comparison("ops", 1, optimizers=1, has_operations=True), 0)


def test_a_common_prefix_ends_at_the_first_difference() -> None:
    assert common_prefix(np.array([1, 2, 3]), np.array([1, 2, 4])) == 2
    assert common_prefix(np.array([1]), np.array([1])) == 1
    assert common_prefix(np.array([]), np.array([])) == 0
