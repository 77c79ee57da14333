"""What `deterministic run` asked for comes through a variable of the environment."""

from __future__ import annotations

import pytest
import torch

from deterministic import make_loader, reproducible, seed_everything
from deterministic.errors import DeterministicError
from deterministic.ground import launch
from deterministic.ground.launch import VARIABLE, Launch, default_seed, launched


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
