"""`hf_kwargs`: what it tells a Trainer, of which scope; that Trainer obeys is shown in test_transformers_inside.py."""

from __future__ import annotations

import pytest

from deterministic import derive_seed, reproducible
from deterministic.errors import DeterministicError
from deterministic.ground.launch import VARIABLE, Launch
from deterministic.integrations.transformers import hf_kwargs

from ..processes import run_python


def test_what_it_returns() -> None:
    with reproducible(seed=0):
        assert hf_kwargs() == {"full_determinism": False, "seed": 0, "data_seed": 0}
        with reproducible(seed=2**32 - 1):
            assert hf_kwargs(full_determinism=True) == {
                "full_determinism": True,
                "seed": 2**32 - 1,
                "data_seed": 2**32 - 1,
            }


def test_large_seeds_come_into_range_and_stay_apart() -> None:
    found = set()
    for seed in (2**32, 2**33, 2**64 - 1):
        with reproducible(seed=seed):
            given = hf_kwargs()
        assert given["seed"] == given["data_seed"] == derive_seed(seed, "transformers") % 2**32
        found.add(given["seed"])
    assert len(found) == 3


def test_ranks_with_seeds_of_their_own_agree_on_the_order_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with reproducible(seed=5, per_rank=True):
            given.append(hf_kwargs())
    assert [found["data_seed"] for found in given] == [5, 5]
    assert given[0]["seed"] != given[1]["seed"]


def test_without_a_seed_trainer_keeps_its_own() -> None:
    with reproducible(seed=None):
        assert hf_kwargs() == {"full_determinism": False}
    with reproducible.from_config({"lr": 0.1}):
        assert hf_kwargs() == {"full_determinism": False}
        with reproducible(seed=3):
            assert hf_kwargs()["seed"] == 3
    with reproducible(seed=3), reproducible.from_config({"lr": 0.1}):
        assert hf_kwargs()["seed"] == 3


@pytest.mark.parametrize(("seed", "seeds"), [(7, {"seed": 7, "data_seed": 7}), (None, {})])
def test_outside_of_a_scope_it_is_that_of_the_command(
    monkeypatch: pytest.MonkeyPatch, seed: int | None, seeds: dict[str, int]
) -> None:
    monkeypatch.setenv(VARIABLE, Launch(seed, "warn").encode())
    assert hf_kwargs() == {"full_determinism": False, **seeds}
    with reproducible(seed=3):
        assert hf_kwargs()["seed"] == 3
    with reproducible.from_config({}):
        assert hf_kwargs() == {"full_determinism": False}


def test_outside_of_a_scope_it_is_refused() -> None:
    with pytest.raises(DeterministicError, match="no scope is open"):
        hf_kwargs()


def test_it_does_not_import_transformers() -> None:
    code = "import sys; from deterministic.integrations.transformers import hf_kwargs; print(*sys.modules)"
    assert "transformers" not in run_python(code).split()
