"""What `stress=True` varies, and that it varies the same whenever a repetition is run again."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from deterministic.data.loader import make_loader
from deterministic.ground.launch import HASH_SEED
from deterministic.verification import stress
from deterministic.verification.isolated import IsolatedRuns, _environment
from deterministic.verification.runs import FunctionTask, Plan
from deterministic.verification.stress import Conditions, other_number

from . import functions


def told_under(repetition: int, folder: Path) -> dict[str, Any]:
    place = folder / "conditions.json"
    isolated = IsolatedRuns(FunctionTask(functions.tell_conditions, (place,)), stress=True, timeout=None)
    done = isolated(repetition, Plan(folder / "run.trace", False), lambda steps: None)
    assert done.raised is None
    assert not done.cut
    assert done.varied == str(Conditions(repetition))
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def test_repetitions_differ_in_what_must_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (HASH_SEED, "MALLOC_PERTURB_", "MALLOC_ARENA_MAX"):
        monkeypatch.delenv(name, raising=False)
    one, two = (told_under(repetition, tmp_path) for repetition in (1, 2))
    assert [found[HASH_SEED] for found in (one, two)] == ["1", "2"]
    for name in ("hash", "collects", "switch interval", "MALLOC_PERTURB_", "MALLOC_ARENA_MAX"):
        assert one[name] != two[name]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    for repetition, found in enumerate((one, two), 1):
        assert found["workers"] == [0, *(other_number(number, repetition, cores) for number in (1, 2))]
        # The busy thread is there, and not in the list of those that a script may join.
        assert found["threads"] == found["listed threads"] + 1


def test_the_conditions_of_a_repetition_are_the_same_each_time() -> None:
    for repetition in range(20):
        one, again, next_ = Conditions(repetition, 5), Conditions(repetition, 5), Conditions(repetition + 1, 5)
        assert one.environment() == again.environment()
        assert one.environment() != next_.environment()
        assert str(one) == str(again)
        assert str(one) != str(next_)


def test_repetition_0_is_plain_but_for_a_fixed_hash_seed() -> None:
    assert Conditions(0, 7).environment() == {HASH_SEED: "7"}
    assert str(Conditions(0, 7)) == ""
    interval, collects, make = sys.getswitchinterval(), gc.isenabled(), DataLoader.__init__
    Conditions(0, 7).begin()
    assert (sys.getswitchinterval(), gc.isenabled(), DataLoader.__init__) == (interval, collects, make)


def test_values_are_those_that_python_and_glibc_take() -> None:
    found = [Conditions(number, 2**32 - 3).environment() for number in range(600)]
    assert {0 <= int(one[HASH_SEED]) < 2**32 for one in found} == {True}
    perturbing = [int(one["MALLOC_PERTURB_"]) for one in found[1:]]
    assert (min(perturbing), max(perturbing)) == (1, 255)
    assert {int(one["MALLOC_ARENA_MAX"]) > 0 for one in found[1:]} == {True}


def test_workers_are_others_and_never_none() -> None:
    for cores in range(1, 9):
        for workers in range(1, 12):
            for repetition in range(1, 4):
                number = other_number(workers, repetition, cores)
                assert abs(number - workers) == 1 or (cores == workers == number == 1)
                assert 1 <= number <= max(cores, workers)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        yield from range(4)


@pytest.fixture
def varied_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataLoader, "__init__", DataLoader.__init__)  # given back afterwards
    stress._vary_workers(2)


@pytest.mark.usefixtures("varied_workers")
def test_a_loader_gets_another_number_of_workers_and_the_same_samples() -> None:
    data: Any = range(8)
    assert DataLoader(data, 2, num_workers=2).num_workers == 1
    assert DataLoader(data, 2, False, None, None, 2).num_workers == 1
    assert (
        DataLoader(data, 2, num_workers=2, prefetch_factor=3, persistent_workers=True, timeout=5).prefetch_factor == 3
    )
    assert DataLoader(data, 2).num_workers == 0
    assert DataLoader(Stream(), 2, num_workers=2).num_workers == 2  # they share it out
    loader = make_loader(data, 2, seed=1, num_workers=2)
    assert loader.num_workers == 1
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(TypeError, match="num_worker"):
        DataLoader(data, num_worker=2)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="num_workers"):
        DataLoader(data, num_workers=-1)


def test_the_hash_seed_is_fixed_under_control_and_left_alone_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def seed_of(*, control: bool, stress: bool = False, repetition: int = 0) -> str | None:
        isolated = IsolatedRuns(FunctionTask(torch.rand, (1,)), stress=stress, timeout=None)
        job = isolated._job(repetition, Plan(Path("run.trace"), control))
        return _environment(job).get(HASH_SEED)

    monkeypatch.delenv(HASH_SEED, raising=False)
    assert seed_of(control=True) == "0"
    assert seed_of(control=False) is None
    assert seed_of(control=False, stress=True, repetition=2) == "2"
    monkeypatch.setenv(HASH_SEED, "9")
    assert seed_of(control=True) == seed_of(control=False) == "9"
    assert seed_of(control=True, stress=True, repetition=2) == "11"
    monkeypatch.setenv(HASH_SEED, "random")
    assert seed_of(control=True) == "random"
    assert seed_of(control=True, stress=True) == "0"
