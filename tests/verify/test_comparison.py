from __future__ import annotations

import json
import re
from typing import Any

from deterministic.verification.levels import Costlier, LevelComparison, LevelResult, compare_levels
from deterministic.verification.trials import ALLOCATED, RESIDENT

MIB = 2**20


def example(**changes: Any) -> LevelComparison:
    faster = LevelResult(False, 0.0123, 1.0, [1.0, 1.0], 3 * MIB, None, RESIDENT, "different", "first aten.add a.py:3")
    slower = LevelResult(
        True, 2.5, 1.5, [1.25, 1.75], 4 * MIB, None, RESIDENT, "same", "", "cpu", [Costlier("aten::sort", 0.002)]
    )
    raised = LevelResult("warn", error="RuntimeError: <b>", operation="")
    given = {"title": "train", "where": "here", "runs": 2, "baseline": False, "results": [faster, slower, raised]}
    return LevelComparison(**{**given, **changes})


def test_the_table_has_a_line_for_each_level_and_says_what_its_numbers_are() -> None:
    assert str(example()).splitlines() == [
        "train: 3 levels side by side, 2 runs of each, here",
        "  level   time     of False            memory    bit-exact",
        "  False   12.3 ms  1.00 x              +3.0 MiB  no, first aten.add a.py:3",
        "  True    2.5 s    1.50 x (1.25-1.75)  +4.0 MiB  yes",
        "  'warn'  -        -                   -         raised RuntimeError: <b>",
        "what took longer than at False, the largest increase first (self time on cpu, one profiled run of each)",
        "  True  aten::sort +2 ms",
        "time: the median; ratio to False within each round: median (lowest-highest)",
        f"memory: {RESIDENT}",
    ]


def test_the_memory_of_cuda_devices_has_a_column_where_there_is_any() -> None:
    assert "CUDA" not in str(example())
    one = LevelResult(False, 1.0, 1.0, [1.0], MIB, 512 * MIB, RESIDENT, "same")
    text = str(example(results=[one]))
    assert "CUDA memory" in text.splitlines()[1]
    assert "+512.0 MiB" in text.splitlines()[2]
    assert ALLOCATED in text


def test_the_data_comes_back_from_json_as_it_is() -> None:
    for found in (example(), compare_levels(lambda: 1.0, levels=[False], runs=2)):
        assert json.loads(found.to_json()) == found.as_data()
        assert found.to_json(indent=2).startswith("{\n  ")
    assert example().as_data()["results"][1]["costlier"] == [{"name": "aten::sort", "seconds": 0.002}]


def test_the_html_is_a_table_of_escaped_texts() -> None:
    page = example()._repr_html_()
    assert len(re.findall("<tr>", page)) == 4
    assert "RuntimeError: &lt;b&gt;" in page
    assert "RuntimeError: <b>" not in page
    assert "aten::sort +2 ms" in page
    assert "<summary>JSON</summary>" in page
