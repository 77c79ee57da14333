"""Two traces that have values which were not compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from deterministic import diff
from tests.trace.runs import OTHERS, STEPS, Pair, notes, number, op, ops, write


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_what_could_not_be_compared_is_told_instead(pair: Pair) -> None:
    missed = {"not_compared": ["returned: Result", "observed it: function"]}
    for path in pair.paths:
        write(path, footer={"compared": 0, **missed})
    found = diff(*pair.paths)
    assert found.outcome == "could not tell"
    (note,) = notes(found)
    assert note.endswith(": returned: Result, observed it: function")
    for path in pair.paths:
        write(path, footer={"compared": 1, **missed})
    found = diff(*pair.paths)
    assert (found.outcome, notes(found)) == ("same", [note])


def test_values_that_could_not_be_read_leave_it_open_whatever_else_is_the_same(pair: Pair) -> None:
    unreadable = {"compared": 9, "unreadable": ["parameter weight: Wrap"]}
    pair.write(STEPS, STEPS, footer=unreadable)
    found = diff(*pair.paths)
    assert found.outcome == "could not tell"
    assert "could not be read" in notes(found)[0]
    assert "parameter weight: Wrap" in notes(found)[0]
    pair.write(STEPS, OTHERS, footer=unreadable)
    assert diff(*pair.paths).outcome == "different"


def test_operations_without_values_say_nothing(pair: Pair) -> None:
    hollow = [op(0, type="float32 without values, not compared")]
    drawn = [op(0, "mul.Tensor", number(2.0), type="float32 without values, not compared")]
    for operations, outcome in ((hollow, "could not tell"), (drawn, "could not tell"), (ops(1), "same")):
        pair.write([], [], tails=(operations, operations), footer={"compared": 0})
        assert diff(*pair.paths).outcome == outcome
