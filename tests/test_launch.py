"""What `deterministic run` asked for comes through a variable of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from deterministic import make_loader, reproducible, seed_everything
from deterministic.errors import DeterministicError, RepeatedDrawsWarning, SeedError
from deterministic.ground import launch, snapshot
from deterministic.ground.launch import VARIABLE, Launch, default_seed, launched
from deterministic.integrations.transformers import hf_kwargs
from deterministic.scope.request import Scope
from deterministic.sources import SOURCES


def test_it_comes_through_the_variable_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched() is None
    launch = Launch(2**64 - 1, "warn", 3, {"OMP_NUM_THREADS": "3"}, "seeds.json")
    monkeypatch.setenv(VARIABLE, launch.encode())
    assert launched() == launch
    monkeypatch.setenv(VARIABLE, Launch().encode())
    assert launched() == Launch()


def test_its_seed_is_what_an_omitted_one_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, Launch(seed=7).encode())
    with reproducible() as run:
        assert run.seed == 7
        assert torch.initial_seed() == 7
    with reproducible(seed=8) as run, reproducible() as inner:
        assert (run.seed, inner.seed) == (8, 8)
    assert make_loader(range(4)).seed == 7


@pytest.mark.parametrize("launch", [None, Launch(seed=None, deterministic=True)])
def test_without_a_seed_of_its_own_an_omitted_one_means_42(
    launch: Launch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if launch is not None:
        monkeypatch.setenv(VARIABLE, launch.encode())
    assert default_seed() == 42


@pytest.mark.parametrize("text", ["junk", "[]", '{"sead": 1}'])
def test_what_it_did_not_write_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    before = torch.get_rng_state()
    with pytest.raises(DeterministicError, match=VARIABLE), reproducible():
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seeds_that_were_used_are_kept_where_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with reproducible(seed=1):
        pass
    assert launch.seen is None
    monkeypatch.setattr(launch, "seen", {})
    with reproducible(seed=5), reproducible(), reproducible(seed=None):
        seed_everything(6)
    assert launch.seen == {5: None, None: None, 6: None}


@pytest.fixture
def given_back() -> Iterator[None]:
    before = snapshot.capture(SOURCES)
    yield
    snapshot.restore(before)


@pytest.mark.usefixtures("given_back")
def test_the_seed_of_seed_everything_is_that_of_loaders_and_scopes_which_are_given_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SeedError, match=r"seed_everything\(seed\)"):
        make_loader(range(4))
    monkeypatch.setenv(VARIABLE, Launch(seed=6).encode())
    seed_everything(7, workers=True)
    assert make_loader(range(4)).seed == 7
    assert hf_kwargs()["seed"] == 7
    others = {"num_threads": None, "per_rank": False, "entropy": None}
    assert Scope().arguments() == {"seed": 7, "deterministic": True, **others}
    with reproducible() as run:
        assert run.seed == 7
    with reproducible(seed=8):
        assert make_loader(range(4)).seed == 8
        with reproducible() as run:
            assert run.seed == 8
    assert make_loader(range(4), seed=9).seed == 9


def test_a_loader_made_again_with_the_seed_of_the_process_is_warned_of_and_one_with_its_own_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = torch.arange(4)

    def epoch(**seed: int) -> None:
        list(make_loader(samples, shuffle=True, **seed))  # type: ignore[call-overload]

    monkeypatch.setattr(launch, "remembered", 7)
    for _ in range(2):
        epoch(seed=8)
    epoch()
    with pytest.warns(RepeatedDrawsWarning):
        epoch()


def test_inside_of_a_scope_seed_everything_is_not_remembered() -> None:
    with reproducible(seed=8):
        seed_everything(7)
        assert make_loader(range(4)).seed == 8
    assert launch.remembered is None
    with reproducible() as run:
        assert run.seed == 42


@pytest.mark.parametrize("workers", [1, None, "yes"])
def test_workers_is_a_bool_as_elsewhere(workers: Any) -> None:
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match="workers is not a bool"):
        seed_everything(7, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)
    assert launch.remembered is None
