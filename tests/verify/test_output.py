"""What runs print, compared line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deterministic.verification.remarks import output_apart


def apart(folder: Path, one: bytes, other: bytes) -> list[str]:
    paths = [folder / "a", folder / "b"]
    for path, content in zip(paths, (one, other), strict=True):
        path.write_bytes(content)
    return output_apart(paths, ["run 1", "run 2"])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (b"a\nb\n", b"a\nc\n", ["line 2 of its output differs", r"  run 1: 'b\n'", r"  run 2: 'c\n'"]),
        (b"a\n", b"a\nb\n", ["line 2 of its output differs", "  run 1: ''", r"  run 2: 'b\n'"]),
        (b"a\n", b"a", ["line 1 of its output differs", r"  run 1: 'a\n'", "  run 2: 'a'"]),
        (b"\xff\x00", b"\xfe\x00", ["line 1 of its output differs", r"  run 1: '\\xff\x00'", r"  run 2: '\\xfe\x00'"]),
    ],
)
def test_the_first_line_that_differs_is_shown(one: bytes, other: bytes, expected: list[str], tmp_path: Path) -> None:
    assert apart(tmp_path, one, other) == expected


def test_a_long_line_is_shown_where_it_differs(tmp_path: Path) -> None:
    line = b"a" * ((1 << 17) + 100)
    number, one, other = apart(tmp_path, b"first\n" + line + b"1" + line, b"first\n" + line + b"2" + line)
    assert number == "line 2 of its output differs"
    assert one.startswith("  run 1: ...'" + "a" * 30 + "1")
    assert other.startswith("  run 2: ...'" + "a" * 30 + "2")
    assert max(len(one), len(other)) < 100


@given(st.binary(), st.binary())
@example(b"\n" * 3, b"\n" * 4)
def test_outputs_are_the_same_exactly_if_their_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, one: bytes, other: bytes
) -> None:
    found = apart(tmp_path_factory.mktemp("outputs"), one, other)
    assert bool(found) == (one != other)
    if found:
        first = next(
            (number for number, (a, b) in enumerate(zip(one.split(b"\n"), other.split(b"\n"), strict=False)) if a != b),
            min(one.count(b"\n"), other.count(b"\n")),
        )
        assert found[0] == f"line {first + 1} of its output differs"
