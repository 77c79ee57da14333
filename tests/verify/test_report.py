from __future__ import annotations

import base64
import gc
import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deterministic.trace.comparing.reasons import Cause, Reason
from deterministic.verification.report import Report
from deterministic.verification.verify import verify
from tests.verify.written import two_runs

NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


def different(folder: Path) -> Report:
    return two_runs(folder, [0.5, 0.5, 0.5], [0.5, NEXT, 0.5])


def same() -> Report:
    return verify(lambda: torch.rand(2), runs=2)


def nothing() -> Report:
    return verify(lambda: None, runs=2)


def test_what_differs_is_said_in_one_headline_with_the_verdict_below(tmp_path: Path) -> None:
    report = different(tmp_path)
    head, *rows = str(report).splitlines()
    assert head == "not reproducible: run 2 of train differs from run 1 first at step 1 of 3"
    assert report.verdict is not None
    assert rows == str(report.verdict).splitlines()[1:]
    assert [row.split("  ")[1] for row in rows if row.startswith("  ")][:2] == ["first difference", "line"]
    assert not [row for row in rows if row.startswith("different")]


def test_the_text_says_what_was_run_and_how_often_where_it_is_the_same() -> None:
    report = replace(same(), title="train", notes=["It seeds itself."])
    assert str(report) == "bit-exact: 2 runs of train\n  note: It seeds itself."


def test_the_text_says_why_it_could_not_be_told() -> None:
    head, *rows = str(nothing()).splitlines()
    assert head.startswith("could not tell whether nothing.<locals>.<lambda> is bit-exact, after 2 runs")
    (row,) = rows
    assert row.startswith("  nothing was recorded that could be compared: ")
    assert row.endswith('inside of `with reproducible(...) as run:` add run.observe("loss", loss)')


@pytest.mark.parametrize("make", [same, nothing])
def test_the_data_comes_back_from_json_as_it_is(make: Callable[[], Report], tmp_path: Path) -> None:
    for report in (make(), different(tmp_path)):
        data = json.loads(report.to_json(), parse_constant=pytest.fail)
        assert data == report.as_data()
        assert data.keys() >= {"title", "outcome", "runs", "steps", "seconds", "verdict", "reasons", "notes", "numbers"}
        assert report.to_json(indent=2).startswith("{\n  ")


def test_the_data_says_how_far_apart_the_numbers_are(tmp_path: Path) -> None:
    (number,) = different(tmp_path).as_data()["numbers"]
    assert number == {"name": "loss", "kind": "observed", "axis": "step", "first_apart": 1, "most_apart": NEXT - 0.5}


def test_the_html_has_the_verdict_as_a_table_with_its_reason_first_and_highlighted(tmp_path: Path) -> None:
    report = different(tmp_path)
    page = report._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    assert report.verdict is not None
    assert report.verdict.cause is not None
    cause = report.verdict.cause
    assert f">{cause.reason.value}: {cause.because}</td>" in rows[0]
    assert "background:" in rows[0]
    assert not any("background:" in row for row in rows[1:])
    assert len(rows) == len(report.verdict.rows())
    assert page.count(cause.because) == 2  # once in the table, once in the JSON


def test_the_html_escapes_all_that_comes_from_outside(tmp_path: Path) -> None:
    evil = "<script>alert('1')</script>"
    report = different(tmp_path)
    assert report.verdict is not None
    verdict = replace(report.verdict, cause=Cause(Reason.UNKNOWN, evil, evil), notes=[evil])
    report = replace(report, title=evil, notes=[evil], reasons=[evil], verdict=verdict, traces={})
    assert "<script" not in report._repr_html_()
    assert "<script" not in replace(report, outcome="could not tell")._repr_html_()


def test_the_html_has_the_picture_and_the_json(tmp_path: Path) -> None:
    report = different(tmp_path)
    page = report._repr_html_()
    picture = re.search(r"src='data:image/png;base64,([^']+)'", page)
    assert picture is not None
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG\r\n\x1a\n")
    assert "<details><summary>JSON</summary>" in page
    assert "<img" not in replace(report, traces={})._repr_html_()


def test_the_html_of_what_could_not_be_told_highlights_why() -> None:
    page = nothing()._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    assert len(rows) == 1
    assert "nothing was recorded that could be compared" in rows[0]
    assert "background:" in rows[0]
    assert "<table>" not in same()._repr_html_()


@pytest.mark.parametrize(("outcome", "truth", "code"), [("same", True, 0), ("different", False, 1)])
def test_only_what_is_bit_exact_is_true(outcome: Any, truth: bool, code: int) -> None:
    report = Report("train", outcome, 2, 3, [1.0, 1.0], None, [], [])
    assert bool(report) is truth
    assert report.exit_code == code
    assert str(report)


def test_the_traces_lie_in_a_folder_as_long_as_the_report_and_a_copy_elsewhere_has_the_curves() -> None:
    report = verify(lambda: torch.rand(()).item(), runs=2)
    folder = report.traces["run 1"].parent
    assert sorted(path.name for path in folder.iterdir()) == ["run1.trace", "run2.trace"]
    renamed = replace(report, title="again")
    elsewhere = pickle.loads(pickle.dumps(report))
    del report
    gc.collect()
    assert renamed.curves.numbers[0].apart == [0]
    del renamed
    gc.collect()
    assert not folder.exists()
    assert elsewhere.curves.numbers[0].apart == [0]
