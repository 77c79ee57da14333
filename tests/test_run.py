"""The handle of a scope: named streams, derived seeds, state, the opt-out."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import Run, current_run, derive_seed, describe, reproducible
from deterministic.errors import DeterministicError, ScopeOrderWarning, SeedError


def draw() -> list[float]:
    """Draw from every global generator, with one normal deviate held ready in each."""
    drawn = [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.normal())]
    return [*drawn, torch.rand(1).item(), torch.randn(1, dtype=torch.float64).item()]


def draw_streams(run: Run) -> list[float]:
    return [torch.rand(1, generator=run.generator("a")).item(), float(run.numpy("b").normal())]


def test_a_stream_depends_on_the_seed_and_its_name_alone() -> None:
    with reproducible(3) as run:
        expected = draw_streams(run)
    with reproducible(3, deterministic=False) as run:
        draw()
        torch.rand(1, generator=run.generator("other"))
        run.numpy("a").random()
        assert draw_streams(run) == expected
    with reproducible(4) as run:
        assert draw_streams(run) != expected


def test_streams_of_different_names_are_different() -> None:
    with reproducible(3) as run:
        assert run.generator("a").initial_seed() != run.generator("b").initial_seed()
        assert run.numpy("a").random() != run.numpy("b").random()


def test_a_stream_asked_for_again_is_the_same_object() -> None:
    with reproducible(3) as run:
        assert run.generator("a") is run.generator("a", torch.device("cpu")) is run.generator("a", device="cpu")
        assert run.numpy("a") is run.numpy("a")


def test_each_device_has_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Generator:
        def __init__(self, device: object) -> None:
            self.device = torch.device(str(device))

        def manual_seed(self, seed: int) -> tuple[str, int]:
            return self.device.type, seed

    monkeypatch.setattr(torch, "Generator", Generator)
    with reproducible(3) as run:
        made: list[Any] = [run.generator("a", device) for device in ("cpu", "cuda:0", torch.device("cuda", 1))]
        assert run.generator("a", torch.device("cuda", 0)) is made[1]
    assert [device for device, _ in made] == ["cpu", "cuda", "cuda"]
    assert len({seed for _, seed in made}) == 3


def test_streams_do_not_move_the_global_generators() -> None:
    with reproducible(3) as run:
        before = describe()
        draw_streams(run)
        assert describe() == before


def test_a_stream_goes_on_after_a_nested_scope_and_is_not_seeded_by_it() -> None:
    with reproducible(3) as run:
        undisturbed = draw_streams(run) + draw_streams(run)
    with reproducible(3) as run:
        first = draw_streams(run)
        with reproducible(3):
            assert first + draw_streams(run) == undisturbed


def test_derived_seeds_are_those_of_derive_seed() -> None:
    with reproducible(3) as run:
        assert run.derive("fold", 2) == derive_seed(3, "fold", 2)


@pytest.mark.parametrize("enabled", [True, False])
def test_without_a_seed_nothing_is_derived(enabled: bool) -> None:
    with reproducible(seed=None, enabled=enabled) as run:
        assert run.seed is None
        for derives in (lambda: run.derive("a"), lambda: run.generator("a"), lambda: run.numpy("a")):
            with pytest.raises(SeedError, match="no seed to derive from"):
                derives()


def test_a_run_says_what_it_is() -> None:
    with reproducible(3, deterministic="warn") as run:
        assert f"seed=3, deterministic='warn', open, from {__file__}:" in repr(run)
    assert "closed" in repr(run)
    assert repr(Run(None)) == "<Run: not enabled>"
    assert run.deterministic == "warn"


def refuses() -> bool:
    """Return whether an operation without a deterministic implementation raises now."""
    try:
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    except RuntimeError:
        return True
    return False


def test_the_opt_out_allows_an_operation_for_its_block_and_changes_nothing_else() -> None:
    with reproducible(3) as run:
        before = describe()
        assert refuses()
        with run.allow_nondeterministic() as same:
            assert not refuses()
            assert same is current_run() is run
            inside = describe()
        assert refuses()
        assert describe() == before
    assert [name for name in before if before[name] != inside[name]] == ["torch.deterministic_algorithms"]


def test_the_opt_out_lets_draws_inside_count() -> None:
    with reproducible(3):
        expected = [draw(), draw()]
    with reproducible(3) as run:
        with run.allow_nondeterministic():
            first = draw()
        assert [first, draw()] == expected


def test_the_opt_out_nests_and_ends_with_an_exception() -> None:
    with reproducible(3) as run:
        opt_out = run.allow_nondeterministic()
        with pytest.raises(KeyError), opt_out, opt_out:
            raise KeyError
        assert refuses()


def test_the_opt_out_closed_after_its_scope_gives_everything_back() -> None:
    before = describe()
    scope = reproducible(3)
    opt_out = scope.__enter__().allow_nondeterministic()
    opt_out.__enter__()
    with pytest.warns(ScopeOrderWarning, match="closed before one that was opened inside it"):
        scope.__exit__(None, None, None)
    opt_out.__exit__(None, None, None)
    assert describe() == before


def test_the_current_run_is_the_innermost() -> None:
    with reproducible(3) as outer:
        assert current_run() is outer
        with reproducible(4) as inner:
            assert current_run() is inner
        assert current_run() is outer

    @reproducible(seed=8)
    def function() -> int | None:
        return current_run().seed

    assert function() == 8


def test_outside_of_any_scope_there_is_no_current_run() -> None:
    with pytest.raises(DeterministicError, match="no scope is open"):
        current_run()
