from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import reproducible
from deterministic.ground.config import LEVEL_NAMES, Level
from deterministic.verification import levels
from deterministic.verification.levels import Costlier, LevelComparison, LevelResult, compare, compare_levels
from deterministic.verification.report import Report
from deterministic.verification.trials import RESIDENT, Peak, Profile, Trials
from deterministic.verification.verify import verify

ALL: tuple[Level, ...] = (False, "cudnn", True, "warn")
MIB = 2**20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Recorded(Trials):
    """Trials that only say what they were asked, and take as long as they are told."""

    title, where = "train", "nowhere"

    def __init__(self, seconds: Callable[[Level, int], float] = lambda level, nth: 1.0) -> None:
        self.asked: list[tuple[str, Level]] = []
        self._seconds = seconds

    def seconds(self, level: Level) -> float:
        self.asked.append(("seconds", level))
        return self._seconds(level, self.asked.count(("seconds", level)))

    def peak(self, level: Level) -> Peak:
        self.asked.append(("peak", level))
        return Peak(MIB, None, RESIDENT)

    def profile(self, level: Level) -> Profile:
        self.asked.append(("profile", level))
        extra = {"sort": 0.5, "fill_": 0.25, "noise": 0.009, "add": 0.2} if level is True else {"add": 1.0}
        return Profile("cpu", {"mm": 1.0, **extra})

    def verify(self, level: Level, runs: int, folder: Path) -> Report:
        self.asked.append(("verify", level))
        assert list(folder.iterdir()) == []
        (folder / "run1.trace").write_bytes(b"")
        return verify(lambda: 1.0, runs=runs)


def refused() -> torch.Tensor:
    """Has no deterministic implementation on any device."""
    return torch.zeros(3).put_(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))


def by_level(found: LevelComparison) -> dict[Level, LevelResult]:
    return {result.level: result for result in found.results}


def test_the_levels_are_timed_side_by_side_and_the_first_round_does_not_count() -> None:
    def seconds(level: Level, nth: int) -> float:
        return 100.0 if nth == 1 else float(nth) if level is False else 3.0 * nth

    trials = Recorded(seconds)
    found = by_level(compare(trials, [False, True, "warn"], 3))
    assert [asked for what, asked in trials.asked if what == "seconds"] == [False, True, "warn"] * 4
    assert found[False].seconds == 3  # of 2, 3, 4
    assert found[True].ratios == [3, 3, 3]
    assert found[True].ratio == 3
    assert found[False].ratio == 1


def test_ratios_are_those_within_a_round_so_that_a_slow_moment_cancels_out() -> None:
    slow = {3: 10.0}
    trials = Recorded(lambda level, nth: slow.get(nth, 1.0) * (2.0 if level is True else 1.0))
    found = by_level(compare(trials, [False, True], 2))
    assert found[True].ratios == [2, 2]


def test_without_the_level_false_ratios_are_to_the_first() -> None:
    found = compare(Recorded(lambda level, nth: 4.0 if level is True else 2.0), [True, "warn"], 2)
    assert found.baseline is True
    assert by_level(found)["warn"].ratio == 0.5
    assert "of True" in str(found)


def slower(level: Level, nth: int) -> float:
    return 1.5 if level is True else 1.0


def test_the_operations_that_cost_more_are_named_without_the_noise() -> None:
    found = by_level(compare(Recorded(slower), [False, True], 2))
    assert found[True].costlier == [Costlier("sort", 0.5), Costlier("fill_", 0.25)]
    assert found[False].costlier == []


@pytest.mark.parametrize("again", [1.0, 0.9])
def test_nothing_is_blamed_where_a_round_was_as_fast(again: float) -> None:
    found = compare(Recorded(lambda level, nth: slower(level, nth) if nth == 2 else again), [False, True], 2)
    assert max(by_level(found)[True].ratios) == 1.5
    assert by_level(found)[True].costlier == []
    assert "took longer" not in str(found)


def test_no_more_than_a_few_operations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "MOST_OPERATIONS", 1)
    assert by_level(compare(Recorded(slower), [False, True], 2))[True].costlier == [Costlier("sort", 0.5)]


@pytest.mark.slow
def test_a_function_is_measured_at_every_level() -> None:
    seen: list[Any] = []

    def train() -> torch.Tensor:
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic))
        return torch.rand(4)

    before = torch.are_deterministic_algorithms_enabled()
    found = compare_levels(train, runs=2)
    assert [result.level for result in found.results] == list(ALL)
    assert {result.outcome for result in found.results} == {"same"}
    assert set(seen) == {(False, False), (False, True), (True, True)}
    assert len(seen) == len(ALL) * (2 * 2 + 3)
    assert all(result.seconds and result.ratio and len(result.ratios) == 2 for result in found.results)
    assert all(result.error is None for result in found.results)
    assert torch.are_deterministic_algorithms_enabled() == before


def test_arguments_are_passed_on() -> None:
    def add(one: int, *, other: int) -> float:
        assert (one, other) == (1, 2)
        return float(one + other)

    assert compare_levels(add, 1, levels=[False], runs=2, other=2).results[0].outcome == "same"


def test_the_timed_runs_are_not_recorded() -> None:
    from deterministic.trace.recording.seeding import ACTIVE

    recorded: list[bool] = []

    def train() -> float:
        recorded.append(bool(ACTIVE))
        return 1.0

    compare_levels(train, levels=[False], runs=2)
    assert recorded == [False] * 5 + [True] * 2


@pytest.mark.slow
def test_an_operation_that_is_refused_is_named_and_the_other_levels_go_on() -> None:
    found = compare_levels(refused, levels=[False, True, "cudnn"], runs=2)
    result = by_level(found)[True]
    assert result.operation == "put_"
    assert result.error is not None
    assert result.error.startswith("RuntimeError: put_ does not have a deterministic implementation")
    assert (result.seconds, result.ratio, result.outcome) == (None, None, None)
    assert "raised: put_ has no deterministic implementation" in str(found)
    assert by_level(found)["cudnn"].outcome == "same"


def test_an_error_at_the_baseline_leaves_the_others_without_a_ratio() -> None:
    def train() -> float:
        if not torch.are_deterministic_algorithms_enabled():
            raise ValueError("not like this")
        return 1.0

    found = by_level(compare_levels(train, levels=[False, True], runs=2))
    assert found[False].error == "ValueError: not like this"
    assert found[True].seconds is not None
    assert found[True].ratio is None
    assert found[True].outcome == "same"


def test_what_the_function_raises_at_every_level_is_raised() -> None:
    def train() -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        compare_levels(train)


@pytest.mark.slow
def test_a_function_that_differs_is_told_with_the_place_of_the_first_difference() -> None:
    found = compare_levels(lambda: torch.tensor(time.perf_counter_ns()), levels=[False], runs=2)
    assert found.results[0].outcome == "different"
    assert re.search(r"  no, first aten\.lift_fresh \S*test_levels\.py:\d+$", str(found), re.MULTILINE)


@pytest.mark.slow
def test_a_function_with_nothing_to_compare_is_told_so() -> None:
    found = compare_levels(lambda: None, levels=[False, True], runs=2)
    assert [result.outcome for result in found.results] == ["could not tell"] * 2
    assert str(found).count("nothing was recorded") == 1
    assert "\ncould not tell: nothing was recorded" in str(found)


@pytest.mark.slow
def test_filling_new_memory_is_seen_as_what_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under deterministic algorithms torch fills what `torch.empty` gives; how long each run took is made up."""
    monkeypatch.setattr(Trials, "seconds", lambda trials, level: slower(level, 0))
    found = by_level(compare_levels(lambda: torch.empty(4_000_000)[0] * 0, levels=[False, True], runs=2))
    assert found[True].costlier[0].name == "aten::fill_"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"levels": "true"}, TypeError, "levels= is not a list of levels"),
        ({"levels": True}, TypeError, "levels= is not a list of levels"),
        ({"levels": [False, "cuda"]}, ValueError, "unknown level in levels=\n  found: 'cuda'"),
        ({"levels": [1]}, ValueError, "unknown level in levels=\n  found: 1"),
        ({"levels": [[]]}, ValueError, "unknown level in levels="),
        ({"levels": []}, ValueError, "levels= is empty"),
        ({"levels": [True, True]}, ValueError, "levels= names a level twice"),
        ({"runs": 1}, ValueError, "Pass 2 or more: one run has no spread."),
        ({"runs": True}, TypeError, "runs is not an integer"),
        ({"runs": 2.0}, TypeError, "runs is not an integer"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    calls: list[None] = []
    with pytest.raises(error) as raised:
        compare_levels(lambda: calls.append(None), **options)
    assert text in str(raised.value)
    assert calls == []


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="compare_levels needs a function"):
        compare_levels(3)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_seed_of_the_enclosing_scope_holds_at_every_level() -> None:
    drawn: set[float] = set()

    def train() -> float:
        drawn.add(torch.rand(()).item())
        return 1.0

    with reproducible(7):
        compare_levels(train, runs=2)
        assert drawn == {torch.rand(()).item()}


def test_the_command_line_names_every_level() -> None:
    assert tuple(LEVEL_NAMES.values()) == ALL
