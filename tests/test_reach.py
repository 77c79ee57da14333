"""The table of what seeding reaches: its judgement on functions whose sources are known, and its page."""

from __future__ import annotations

import itertools
import json
import runpy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.reach import NOTHING, SAVED, answers, attempt, derived, in_blocks, in_loaders, plainly, unseeded
from benchmarks.reach_rows.row import Seed
from deterministic import reproducible

from .processes import ROOT

Make = Callable[[Seed], Callable[[], Any]]


def drawn(seed: Seed) -> Callable[[], Any]:
    return lambda: np.random.rand() + torch.rand(2)


def from_the_system(seed: Seed) -> Callable[[], Any]:
    return lambda: np.random.default_rng(seed()).random()


def held(seed: Seed) -> Callable[[], Any]:
    own = np.random.default_rng(seed())
    return lambda: own.random()


def seeding_anew(seed: Seed) -> Callable[[], Any]:
    def call() -> Any:
        np.random.seed(None)
        return np.random.rand()

    return call


def constant(seed: Seed) -> Callable[[], Any]:
    return lambda: 0.5


def raising(seed: Seed) -> Callable[[], Any]:
    raise KeyError("no such thing in /tmp/folder/file")


def counting(counter: Iterator[int]) -> Make:
    return lambda seed: lambda: next(counter)


def asked(*processes: Make) -> dict[str, str]:
    """Return the answers to two processes, which differ in what they begin with."""
    pythons = []
    for make in processes:
        usual, mended = (lambda seed=seed, make=make: make(seed) for seed in (unseeded, derived))
        pythons.append(
            {
                "plain": {"plain": attempt(plainly, usual)},
                "block": {"block": attempt(in_blocks, usual), "mended": attempt(in_blocks, mended)},
                "loader": {
                    "loader": attempt(in_loaders, usual, "sample"),
                    "mended loader": attempt(in_loaders, mended, "sample"),
                },
            }
        )
    return answers(pythons)


@pytest.fixture
def at_ease() -> Iterator[None]:
    """Give back what is seeded here."""
    with reproducible(None, deterministic=False):
        yield


@pytest.mark.usefixtures("at_ease")
def test_what_is_seeded_is_told_from_what_the_system_gives_and_from_what_draws_nothing() -> None:
    yes = dict.fromkeys(("seeded", "block", "loader", "mended", "mended loader"), "yes")
    system = "a generator of its own, from the operating system's entropy"
    assert asked(drawn, drawn) == yes | {"drawn from": "numpy's and torch's global generator"}
    no = {"seeded": "no", "block": "no", "drawn from": system}
    assert asked(from_the_system, from_the_system) == yes | no | {"loader": "no"}
    assert asked(held, held) == yes | no
    placed = f"{system}; moves numpy's global generator, each time to another place"
    assert asked(seeding_anew, seeding_anew)["drawn from"] == placed
    assert asked(constant, constant) == dict.fromkeys(yes, NOTHING) | {
        "drawn from": "nothing, or a fixed seed of its own"
    }
    assert asked(raising, raising) == dict.fromkeys(yes, "not run: KeyError: 'no such thing in file'")


@pytest.mark.usefixtures("at_ease")
def test_state_that_nobody_sees_is_told_by_what_two_processes_begin_with() -> None:
    alike = asked(counting(itertools.count()), counting(itertools.count()))
    assert (alike["seeded"], alike["drawn from"]) == (
        "no",
        "state in compiled code, or made at import, that is the same at each start",
    )
    assert alike["block"] == "yes"
    other = asked(counting(itertools.count()), counting(itertools.count(1000)))
    assert (other["seeded"], other["block"]) == ("no", "no")
    assert other["drawn from"] == "what Python does not show: compiled code, the clock, or a generator made at import"
    hashes = asked(lambda seed: lambda: 1, lambda seed: lambda: 2)
    assert (hashes["seeded"], hashes["block"]) == (NOTHING, "no")
    assert hashes["drawn from"] == "the process, as by its hash seed or another salt"


def test_the_page_of_reach_is_what_its_generator_writes() -> None:
    again = runpy.run_path(str(ROOT / "docs" / "generate_reach.py"))["page"](json.loads(SAVED.read_text("utf-8")))
    assert again == (ROOT / "docs" / "reach.md").read_text("utf-8"), "run: python docs/generate_reach.py"
