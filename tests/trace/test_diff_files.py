"""Which files are compared: those of ranks, those that are no traces; and what they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deterministic import diff
from deterministic.errors import TraceError
from deterministic.trace.comparing.reasons import Reason
from tests.trace.runs import OTHERS, STEPS, Pair, killed, write


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


# Files and ranks


def write_ranks(folder: Path, name: str, *runs: Any, world_size: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for rank, steps in enumerate(runs):
        if steps is not None:
            said = {"rank": rank, "world_size": world_size or len(runs)}
            write(folder / f"{name}.rank{rank}.trace", steps, header=said)
    return folder / f"{name}.trace"


def test_each_rank_has_a_first_difference(tmp_path: Path) -> None:
    a = write_ranks(tmp_path, "a", *[STEPS] * 12)
    b = write_ranks(tmp_path, "b", STEPS, OTHERS, *[STEPS] * 8, OTHERS[:1], STEPS)
    found = diff(a, b)
    assert [verdict.outcome for verdict in found.verdicts].count("different") == 2
    assert (found.outcome, found.exit_code, len(found.verdicts)) == ("different", 1, 12)
    assert [verdict.names[0] for verdict in found.verdicts] == [f"a.rank{rank}.trace" for rank in range(12)]
    paragraphs = str(found).split("\n\n")
    assert paragraphs[0].startswith("the same: a.rank0.trace and b.rank0.trace")
    assert paragraphs[1].startswith("different: b.rank1.trace differs from a.rank1.trace first at step 2 of 4")
    assert paragraphs[10].startswith("different: b.rank10.trace differs from a.rank10.trace first at step 1 of 4")
    assert len(json.loads(found.to_json())["verdicts"]) == 12


def test_the_worst_of_the_ranks_counts(tmp_path: Path) -> None:
    a, b = (write_ranks(tmp_path, name, STEPS, STEPS) for name in "ab")
    killed(tmp_path / "b.rank1.trace", STEPS, header={"world_size": 2})
    assert diff(a, b).outcome == "could not tell"


def test_two_ranks_of_one_run_are_compared_by_their_files(tmp_path: Path) -> None:
    write_ranks(tmp_path, "a", STEPS, OTHERS)
    found = diff(tmp_path / "a.rank0.trace", tmp_path / "a.rank1.trace")
    assert found.verdicts[0].names == ("a.rank0.trace", "a.rank1.trace")
    assert found.outcome == "different"


def test_a_file_of_just_that_name_is_meant_whatever_ranks_there_are(tmp_path: Path) -> None:
    write_ranks(tmp_path, "a", OTHERS, STEPS)
    a, b = (write(tmp_path / f"{name}.trace", STEPS) for name in "ab")
    assert [verdict.names for verdict in diff(a, b).verdicts] == [("a.trace", "b.trace")]
    assert diff(a, b).outcome == "same"
    assert [verdict.names for verdict in diff(a, a).verdicts] == [("a.trace", "a.trace")]


def test_the_files_of_ranks_are_named_where_the_other_trace_has_none(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.trace", STEPS), write_ranks(tmp_path, "b", STEPS, STEPS)
    for pair in ((a, b), (b, a)):
        with pytest.raises(
            TraceError, match=r"found: b\.rank0\.trace, b\.rank1\.trace\n.* one rank: .*/b\.rank0\.trace"
        ):
            diff(*pair)
    assert diff(a, tmp_path / "b.rank0.trace").outcome == "same"
    with pytest.raises(TraceError, match="nothing"):
        diff(a, tmp_path / "nothing.trace")


def test_missing_ranks_are_refused(tmp_path: Path) -> None:
    a = write_ranks(tmp_path, "a", STEPS, STEPS, STEPS)
    b = write_ranks(tmp_path, "b", STEPS, STEPS)
    with pytest.raises(TraceError, match=r"different ranks\n  .*a\.trace: ranks 0, 1, 2\n  .*b\.trace: ranks 0, 1\n"):
        diff(a, b)
    for name, runs in (("c", (STEPS, None, STEPS)), ("d", (STEPS, STEPS, None)), ("e", (None, STEPS, STEPS))):
        with pytest.raises(TraceError, match=r"not those of one run\n  found: ranks .*\n  expected: 3, as"):
            diff(write_ranks(tmp_path, name, *runs), a)


def test_ranks_that_an_earlier_run_left_are_refused(tmp_path: Path) -> None:
    a = write_ranks(tmp_path, "a", STEPS, STEPS, STEPS, STEPS)
    write_ranks(tmp_path, "a", STEPS, STEPS)
    with pytest.raises(TraceError, match=r"found: ranks 0, 1, 2, 3\n  expected: 2, as"):
        diff(a, a)


def test_files_of_runs_with_different_numbers_of_ranks_are_compared_without_operations(tmp_path: Path) -> None:
    write_ranks(tmp_path, "a", STEPS, STEPS)
    write_ranks(tmp_path, "b", STEPS, STEPS, STEPS)
    write_ranks(tmp_path, "c", OTHERS, OTHERS, OTHERS)
    (same,) = diff(tmp_path / "a.rank0.trace", tmp_path / "b.rank0.trace").verdicts
    assert same.outcome == "same"
    assert same.comparison is not None
    assert same.comparison.level == "values"
    assert "number of ranks: 2 / 3" in str(same)
    (apart,) = diff(tmp_path / "a.rank0.trace", tmp_path / "c.rank0.trace").verdicts
    assert apart.cause is not None
    assert apart.cause.reason is Reason.ENVIRONMENT
    assert "2 and 3 ranks" in apart.cause.because


def test_ranks_against_a_run_without_ranks_are_refused(tmp_path: Path) -> None:
    a = write_ranks(tmp_path, "a", STEPS, STEPS)
    b = write(tmp_path / "b.trace", STEPS)
    with pytest.raises(TraceError, match=r"a\.trace"):
        diff(a, b)


def test_names_with_special_characters_are_no_patterns(tmp_path: Path) -> None:
    a = write_ranks(tmp_path, "a[1]+", STEPS, STEPS)
    write_ranks(tmp_path, "a1", STEPS, STEPS, STEPS)
    assert len(diff(a, a).verdicts) == 2


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("a.trace", "b.trace", ("a.trace", "b.trace")),
        ("one/a.trace", "two/a.trace", ("one/a.trace", "two/a.trace")),
        ("one/x/a.trace", "two/x/a.trace", ("one/x/a.trace", "two/x/a.trace")),
        ("one/a.trace", "one/a.trace", ("a.trace", "a.trace")),
        ("one/a.trace", "a.trace", ("one/a.trace", "NAME/a.trace")),
    ],
)
def test_names_are_as_short_as_tells_them_apart(tmp_path: Path, one: str, other: str, names: tuple[str, str]) -> None:
    for path in (one, other):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / path, STEPS)
    found = diff(tmp_path / one, tmp_path / other)
    assert found.verdicts[0].names == tuple(name.replace("NAME", tmp_path.name) for name in names)
    assert str(tmp_path) not in str(found) + found.to_json()


def test_relative_paths_are_named_from_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.trace", STEPS)
    monkeypatch.chdir(tmp_path / "one")
    assert diff("a.trace", "../two/a.trace").verdicts[0].names == ("one/a.trace", "two/a.trace")


def strange(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "directory":
        path.mkdir()
    elif name == "foreign":
        path.write_text("not a trace, and long enough to be one")
    elif name == "empty":
        path.touch()
    return path


@pytest.mark.parametrize("name", ["missing", "missing/too", "directory", "foreign", "empty"])
def test_what_is_no_trace_is_named(tmp_path: Path, name: str) -> None:
    good = write(tmp_path / "good.trace", STEPS)
    bad = strange(tmp_path, name)
    for paths in ((good, bad), (bad, good), (bad, bad)):
        with pytest.raises(TraceError) as refused:
            diff(*paths)
        assert str(bad) in str(refused.value)
        assert len(str(refused.value).splitlines()) >= 3


def test_damage_in_the_middle_is_an_error(pair: Pair) -> None:
    pair.write(STEPS, OTHERS)
    data = bytearray(pair.paths[1].read_bytes())
    data[data.index(b"SITE") + 20] ^= 1
    pair.paths[1].write_bytes(data)
    with pytest.raises(TraceError, match=r"b\.trace"):
        diff(*pair.paths)
