"""The words of a verdict, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deterministic.trace.comparing.divergence import Comparison, Divergence
from deterministic.trace.comparing.reasons import Cause, Reason
from deterministic.trace.comparing.verdict import Verdict
from deterministic.trace.file.model import Line, Site, Step
from tests.trace.runs import Pair, Rec, moment, number, op, ops, part, rec, step


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def text_of(verdict: Verdict) -> list[str]:
    return str(verdict).splitlines()


def multiplied(bits: int) -> Rec:
    return op(
        bits, "mm.default", part("input", 5, name="self"), part("input", 6, name="mat2"), line=17, phase="backward"
    )


def ten_steps(differs: bool) -> list[Any]:
    return [
        step(
            count,
            *ops(1, 2),
            multiplied(3 + (differs and count == 7)),
            *ops(1, 2, 3 + (differs and count == 7)),
            weight=count + 50 * (differs and count > 7),
        )
        for count in range(10)
    ]


def test_the_verdict_as_people_read_it(pair: Pair) -> None:
    verdict = pair.verdict(ten_steps(False), ten_steps(True), levels=("ops+inputs",) * 2)
    verdict = replace(
        verdict,
        distance="3 of 4 elements, by up to 1 ULP (1.2e-07 relative)",
        notes=["Slow."],
        environment={"torch": ("1", "2")},
    )
    assert text_of(verdict) == [
        "different: b differs from a first at step 7 of 10",
        "  first difference  aten.mm   backward of b.3 (Linear)   (record 3 of 7)",
        "  line              train.py:17 in step",
        "  what differs      output, float32[2]; its inputs are identical in both runs; 3 of 4 elements, by up to 1 ULP"
        " (1.2e-07 relative)",
        "  so                the operation gave two results for the same inputs, numbers and generator",
        "  next              torch.use_deterministic_algorithms(True), which reproducible() sets; if it was set, "
        "another kernel.",
        "  then              1 later record of this step differs; 2 later steps differ",
        "  environment       torch: 1 / 2",
        "  note              Slow.",
    ]


def test_the_same_says_how_much_was_compared(pair: Pair) -> None:
    assert (
        str(pair.verdict(ten_steps(False), ten_steps(False)))
        == "the same: a and b, 10 steps, compared at the level 'ops'"
    )
    one = [step(0, *ops(1))]
    assert "b, 1 step, compared" in str(pair.verdict(one, one))
    assert str(pair.verdict(tails=(ops(1), ops(1)))) == "the same: a and b, compared at the level 'ops'"


def test_where_no_optimizer_stepped_nothing_is_said_of_steps(pair: Pair) -> None:
    verdict = pair.verdict(tails=(ops(1, 2, 3), ops(1, 3, 3)))
    assert text_of(verdict)[0] == "different: b differs from a first at aten.mul.Tensor"
    assert text_of(verdict)[-1] == "  then              nothing after it differs"
    assert "step" not in str(verdict).replace("in step", "")
    verdict = pair.verdict(
        tails=[[rec("observed", "loss", part("output", bits))] for bits in (1, 2)], levels=("digest",) * 2
    )
    assert text_of(verdict)[0] == "different: b differs from a first at the end"
    assert text_of(verdict)[1].startswith("  so  ")


def test_both_lines_are_shown_where_the_runs_did_different_things(pair: Pair) -> None:
    one, other = [op(1, line=1), op(2, "mul", line=3)], [op(1, line=1), op(2, "add", line=5), op(2, "mul", line=3)]
    rows = pair.verdict([step(0, *one)], [step(0, *other)]).rows()
    assert rows[:4] == [
        ("first difference", "aten.mul   forward in b.3 (Linear)   (record 2 of 2)"),
        ("line", "train.py:3 in step"),
        ("instead", "aten.add   forward in b.3 (Linear)   (record 2)"),
        ("line", "train.py:5 in step"),
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_record_that_only_one_has_is_shown(pair: Pair, swapped: bool) -> None:
    runs = [[step(0, *ops(1))], [step(0, *ops(1, 2))]]
    rows = pair.verdict(*runs[:: -1 if swapped else 1]).rows()
    assert [name for name, _ in rows] == ["first difference", "line", "so", "next", "then"]
    assert rows[0][1].endswith("(record 2 of 2)" if swapped else "(record 2)")
    assert f"the {'second' if swapped else 'first'} run has nothing there" in rows[2][1]


def test_the_values_that_differ_are_named_and_counted(pair: Pair) -> None:
    def gradients(*bits: int) -> Rec:
        return rec("gradient", "SGD", *(part("output", b, name=f"layers.{i}.weight") for i, b in enumerate(bits)))

    rows = dict(pair.verdict([step(0, gradients(1, 2, 3, 4, 5, 6))], [step(0, gradients(1, 7, 7, 7, 7, 6))]).rows())
    assert rows["first difference"] == "gradients of SGD   (record 1 of 1)"
    assert rows["what differs"] == (
        "output layers.1.weight, float32[2]; output layers.2.weight, float32[2]; output layers.3.weight, float32[2]; "
        "and 1 more of 6"
    )
    split = [rec("operation", "aten.split", part("output", 1), part("output", bits), place="a.py:1") for bits in (1, 2)]
    assert dict(pair.verdict([step(0, split[0])], [step(0, split[1])]).rows())["what differs"] == "output 1, float32[2]"


def test_both_types_are_said_where_they_differ(pair: Pair) -> None:
    one, other = (op(1, "sum", part("input", 5, kind, "self")) for kind in ("float32[2]", "float32[3]"))
    rows = dict(pair.verdict([step(0, one)], [step(0, other)], levels=("ops+inputs",) * 2).rows())
    assert rows["what differs"] == "input self, float32[2] / float32[3]"


def wide(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if len(line) > 160]


def test_long_sentences_are_broken_and_code_is_not() -> None:
    code = f"x = [{', '.join(map(str, range(40)))}]"
    record = Rec(Site("operation", "aten.mm", place="mine.py:2", function="forward", text=code), ())
    divergence = Divergence(Step(0, 0), "ops", first=moment(record))
    cause = Cause(Reason.OUTSIDE, "word " * 60, "go " * 100)
    verdict = Verdict("different", ("a", "b"), Comparison("ops", 3, divergence), cause, notes=["note " * 50])
    lines = text_of(verdict)
    assert wide(lines) == [f"  line              mine.py:2 in forward   {code}"]
    assert max(map(len, lines)) <= 220
    assert sum(line.startswith("  so ") for line in lines) == 1
    assert sum(line.startswith(" " * 20) for line in lines) == 5
    assert " ".join("".join(line[19:] + " " for line in lines).split()).count("word") == 60
    long = Divergence(Step(0, 0), "ops", first=moment(Rec(record.site._replace(text="x" * 5000), ())))
    assert max(map(len, text_of(replace(verdict, comparison=Comparison("ops", 3, long))))) <= 220


def test_the_innermost_line_of_the_users_own_is_shown_where_the_innermost_is_in_a_package(pair: Pair) -> None:
    callers = (
        Line("diffusers/pipe.py:7", "step", "y = noise()"),
        Line("train.py:3", "main", "x = pipe()", is_own=True),
    )
    site = op(1, place="diffusers/utils.py:5", function="noise", text="torch.randn(3)").site._replace(callers=callers)
    verdict = pair.verdict([step(0, Rec(site, (1,)))], [step(0, Rec(site, (2,)))])
    assert verdict.rows()[1:3] == [
        ("line", "diffusers/utils.py:5 in noise   torch.randn(3)"),
        ("called from", "train.py:3 in main   x = pipe()"),
    ]
    first = verdict.as_data()["first_difference"]["first"]
    assert [line["place"] for line in first["callers"]] == ["diffusers/pipe.py:7", "train.py:3"]


def test_both_lines_are_shown_where_the_same_record_stands_elsewhere(pair: Pair) -> None:
    one = op(1, line=3, source="a", text="y = x * 2")
    other = op(2, line=4, source="b", text="y = x * 3")
    assert [row for row in pair.verdict([step(0, one)], [step(0, other)]).rows() if "line" in row[0]] == [
        ("line", "train.py:3 in step   y = x * 2"),
        ("other line", "train.py:4 in step   y = x * 3"),
    ]


def test_a_long_environment_is_cut_in_the_text_and_whole_in_the_data() -> None:
    environment = {f"setting{i}": ("x" * 300, i) for i in range(30)}
    verdict = Verdict("different", ("a", "b"), Comparison("ops", 3), environment=environment)
    rows = [text for name, text in verdict.rows() if name == "environment"]
    assert len(rows) == 12
    assert rows[-1] == "and 19 more differences, which the JSON has"
    assert len(rows[0]) < 120
    assert verdict.as_data()["environment"] == {name: list(values) for name, values in environment.items()}


def test_the_data_is_complete_and_is_json(pair: Pair) -> None:
    verdict = pair.verdict(
        [step(0, op(1, "mul", number(float("nan"))), weight=1)], [step(0, op(2, "mul", number(1.5)), weight=1)]
    )
    data = json.loads(verdict.to_json(indent=2), parse_constant=pytest.fail)
    assert data == verdict.as_data()
    assert {*data} == {
        "outcome",
        "names",
        "level",
        "steps",
        "optimizers",
        "ended",
        "first_difference",
        "distance",
        "reason",
        "because",
        "remedy",
        "environment",
        "notes",
    }
    first = data["first_difference"]
    assert {*first} == {*vars(Divergence(None, "ops"))}
    assert first["step"] == {"optimizer": 0, "number": 0, "part": 0}
    assert first["values"] == [0, 1]
    assert (first["optimizer"], first["has_operations"], first["later_records"]) == ("SGD", True, 0)
    assert first["first"]["name"] == "aten.mul"
    assert (first["first"]["record"], first["first"]["place"], first["first"]["module"]) == (0, "train.py:1", "b.3")
    assert first["first"]["values"][0] == {
        "role": "number",
        "type": "float",
        "name": "other",
        "origin": "",
        "hash": "7ff8000000000000",
        "number": "nan",
    }
    assert [value["number"] for value in first["second"]["values"]] == ["1.5", None]
    assert [value["hash"] for value in first["second"]["values"]] == ["3ff8000000000000", "0000000000000002"]


def test_a_verdict_on_nothing() -> None:
    verdict = Verdict("could not tell", ("a", "b"), notes=["nothing there"])
    assert text_of(verdict) == ["could not tell whether a and b are the same", "  note              nothing there"]
    assert (verdict.exit_code, verdict.as_data()["level"], verdict.as_data()["first_difference"]) == (2, None, None)
    json.loads(verdict.to_json())


def test_differences_without_records(pair: Pair) -> None:
    verdict = pair.verdict(
        [step(0, weight=1), step(1, weight=1)], [step(0, weight=2), step(1, weight=1)], levels=("digest",) * 2
    )
    assert [name for name, _ in verdict.rows()] == ["so", "next", "then"]
    assert text_of(verdict)[0] == "different: b differs from a first at step 0 of 2"
    assert verdict.as_data()["first_difference"]["first"] is None
    ended = pair.verdict([step(0, weight=1)], [step(0, weight=1)])
    ended = replace(ended, outcome="different", comparison=Comparison("ops", 1, Divergence(None, "ops")))
    assert text_of(ended) == ["different: b differs from a first at the end"]
    assert ended.as_data()["first_difference"]["step"] is None


def test_the_class_of_the_optimizer_stands_beside_its_number_where_there_are_several(pair: Pair) -> None:
    def steps(last: int) -> list[Any]:
        return [step(0, *ops(1), weight=1, cls="Adam"), step(0, *ops(last), optimizer=1, weight=1)]

    verdict = pair.verdict(steps(1), steps(2))
    assert text_of(verdict)[0] == "different: b differs from a first at step 0 of optimizer 1 (SGD)"
