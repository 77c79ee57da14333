"""The pictures of the pages: made by scripts, from what really ran, and not stale."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from benchmarks.charts import CHARTS, digest, draw, newest

DOCS = Path(__file__).parents[1] / "docs"
STATIC = DOCS / "_static"


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_the_chart_in_the_page_is_of_the_newest_results(chart: Any) -> None:
    rows = chart.rows(newest(chart.results))
    kept = (STATIC / f"benchmark_{chart.name}.svg").read_text(encoding="utf-8")
    assert digest(rows) in kept, "run: python -m benchmarks.charts"
    assert f"(_static/benchmark_{chart.name}.svg)" in (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def test_a_chart_has_a_bar_for_each_number_and_the_number_beside_it() -> None:
    rows = {"a": {"one": 0.5, "two": 1234.0}, "b": {"one": 12.0}}
    (axes,) = draw(rows, "us", is_ratio=True).axes
    lengths = [bar.get_width() for bars in axes.containers for bar in bars if not math.isnan(bar.get_width())]
    assert sorted(lengths) == [0.5, 12, 1234]
    assert {text.get_text() for text in axes.texts} == {"0.50", "12.0", "1,234", ""}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_every_table_of_the_benchmarks_has_a_chart() -> None:
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\|[-|]+\|$", page, re.M)) == len(re.findall(r"_static/benchmark_\w+\.svg", page))


def test_every_picture_is_shown_somewhere() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in [*DOCS.glob("*.md"), DOCS.parent / "README.md"])
    assert [
        path.name for path in STATIC.iterdir() if path.suffix != ".css" and f"_static/{path.name}" not in pages
    ] == []


def test_the_pictures_of_scopes_and_keys_show_what_was_given_back_and_what_stays_the_same() -> None:
    module = runpy.run_path(str(DOCS / "generate_pictures.py"))
    (axes,) = module["draw_scopes"]().axes
    texts = [text.get_text() for text in axes.texts][len(module["EVENTS"]) :]
    rows = [texts[start + 1 : start + 6] for start in range(0, len(texts), 6)]
    assert len(rows) == len(module["SHOWN"])
    assert all(before == after and outer == again for before, outer, _, again, after in rows)
    assert [len({*row}) for row in rows] == [2, 2, 3, 3, 3]
    alone = module["fetched"](0)
    assert sorted(index for index, _, _ in alone) == [*range(6)]


def test_the_picture_of_keys_shows_the_same_draws_in_any_worker() -> None:
    fetched = runpy.run_path(str(DOCS / "generate_pictures.py"))["fetched"]
    alone, shared = fetched(0), fetched(2)
    assert [sample[:2] for sample in alone] == [sample[:2] for sample in shared]
    assert {worker for *_, worker in shared} == {1, 2}
