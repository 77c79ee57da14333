"""What has no meaning is refused when pytest starts, or when tests are collected: in one text, before any runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deterministic.pytest_plugin.arguments import validate_markers

from .inner import run_suite

TEST = "import pytest\n\n@pytest.mark.reproducible{}\ndef test_it(): pass\n"

CONFIGURED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a seed that is text": ("reproducible_seed = many\n", (), "reproducible_seed is not a seed\n  found: 'many'"),
    "a seed below 0": ("reproducible_seed = -1\n", (), "reproducible_seed is not a seed\n  found: '-1'"),
    "an unknown level": ("reproducible_deterministic = yes\n", (), "is not a level\n  found: 'yes'"),
    "one run": ("", ("--reproducible-check=1",), "nothing to be compared with\n  found: --reproducible-check=1"),
    "no number": ("", ("--reproducible-check=often",), "invalid int value: 'often'"),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_options_are_refused_before_anything_is_collected(name: str, tmp_path: Path) -> None:
    ini, arguments, said = CONFIGURED[name]
    session = run_suite(tmp_path, {"test_it.py": "raise RuntimeError('was collected')"}, *arguments, ini=ini)

    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert said in session.output
    assert "was collected" not in session.output
    assert "Traceback" not in session.output


MARKED = {
    "(seed=-1)": "seed is out of range\n  found: -1",
    "(seed='42')": "seed is not an integer\n  found: '42' (str)",
    "(seed=True)": "seed is not an integer\n  found: True (bool)",
    "(deterministic='yes')": "deterministic= is not a level\n  found: 'yes'",
    "(num_threads=0)": "num_threads is below 1\n  found: 0",
    "(enabled=1)": "enabled is not a bool\n  found: 1",
    "(sed=3)": "the marker takes other arguments\n  found: reproducible(sed=3)\n  expected: seed, deterministic",
    "(1, 2)": "the marker takes other arguments\n  found: reproducible(1, 2)",
    "(1, seed=2)": "the marker takes other arguments\n  found: reproducible(1, seed=2)",
}


class Node:
    """As much of a test as is looked at."""

    nodeid = "test_it.py::test_it"

    def __init__(self, mark: pytest.Mark) -> None:
        self._mark = mark

    def iter_markers_with_node(self, name: str) -> list[tuple[object, pytest.Mark]]:
        return [(self, self._mark)]


@pytest.mark.parametrize("arguments", MARKED)
def test_a_marker_with_an_argument_without_meaning_is_refused(arguments: str) -> None:
    node: Any = Node(eval(f"pytest.mark.reproducible{arguments}").mark)

    with pytest.raises(pytest.UsageError) as refused:
        validate_markers(node)

    assert str(refused.value).startswith("test_it.py::test_it: ")
    assert MARKED[arguments] in str(refused.value)


def test_markers_are_refused_when_tests_are_collected_before_the_first_runs(tmp_path: Path) -> None:
    text = TEST.format("(sed=3)") + "\ndef test_before(): open('ran', 'w')\n"
    session = run_suite(tmp_path, {"test_it.py": text, "test_a.py": "def test_a(): open('ran', 'w')"})

    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert (
        "ERROR: test_it.py::test_it: the marker takes other arguments\n  found: reproducible(sed=3)" in session.output
    )
    assert "Traceback" not in session.output
    assert not (tmp_path / "ran").exists()


def test_a_marker_that_a_closer_one_hides_is_refused_too(tmp_path: Path) -> None:
    text = TEST.format("(seed=3)") + "\npytestmark = pytest.mark.reproducible(seed=-3)\n"
    session = run_suite(tmp_path, {"test_it.py": text})

    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert "test_it.py::test_it, from test_it.py: seed is out of range" in session.output
