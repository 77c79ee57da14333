"""`reproducible` and `seed_everything`: arguments, seeds, nesting, and that everything is given back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from deterministic import current_run, describe, make_loader, reproducible, seed_everything
from deterministic.ground.source import NOTHING, Applied
from deterministic.sources import SOURCES

from .ids import without_address

numpy_random: Any = np.random  # its stubs lack the functions for the bit generator


def draw() -> tuple[float, ...]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


BAD_ARGUMENTS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"seed": "3"}, ValueError),
    ({"seed": -1}, ValueError),
    ({"seed": True}, ValueError),
    ({"seed": 3.0}, ValueError),
    ({"deterministic": "yes"}, TypeError),
    ({"deterministic": None}, TypeError),
    ({"deterministic": 1}, TypeError),
    ({"num_threads": 0}, ValueError),
    ({"num_threads": 2.0}, TypeError),
    ({"generators": [3]}, TypeError),
    ({"generators": torch.Generator()}, TypeError),
    ({"generators": [random.SystemRandom()]}, TypeError),
    ({"generators": [random]}, TypeError),
    ({"generators": [generator := torch.Generator(), generator]}, ValueError),
    ({"per_rank": 1}, TypeError),
    ({"enabled": "no"}, TypeError),
    ({"enabled": None}, TypeError),
    ({"on_conflict": "queue"}, ValueError),
    ({"on_conflict": None}, ValueError),
    ({"sed": 3}, TypeError),
]


@pytest.mark.parametrize(("arguments", "error"), BAD_ARGUMENTS, ids=without_address)
@pytest.mark.parametrize("other", [{}, {"seed": 3, "deterministic": True, "num_threads": 1}], ids=["alone", "beside"])
def test_a_refused_argument_touches_nothing(arguments: Any, error: type[Exception], other: dict[str, Any]) -> None:
    before = describe()
    with pytest.raises(error), reproducible(**{**other, **arguments}):
        pytest.fail("it was entered")
    assert describe() == before


@pytest.mark.parametrize("arguments", [("3",), (-1,), (None,), (True,), (3, "yes"), (3, 1)])
def test_seed_everything_refuses_before_it_touches_anything(arguments: tuple[Any, ...]) -> None:
    before = describe()
    with pytest.raises((TypeError, ValueError)):
        seed_everything(*arguments[:1], **dict(zip(["deterministic"], arguments[1:], strict=False)))
    assert describe() == before


def test_a_rank_that_is_no_number_is_refused_before_anything_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "first")
    before = describe()
    with pytest.raises(ValueError, match="first"), reproducible(0, per_rank=True):
        pytest.fail("it was entered")
    assert describe() == before


def test_each_rank_gets_a_seed_of_its_own_and_no_rank_is_rank_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    for rank in (None, "0", "1", "2"):
        monkeypatch.delenv("RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("RANK", rank)
        with reproducible(7, per_rank=True) as run:
            seeds.append(run.seed)
    assert seeds[0] == seeds[1]
    assert len({7, *seeds[1:]}) == 4


def test_everything_is_given_back_also_after_an_exception() -> None:
    before = describe()

    def body() -> None:
        draw()
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.backends.cudnn.benchmark = True
        raise KeyError

    with pytest.raises(KeyError), reproducible(0):
        body()
    assert describe() == before


def test_one_object_is_entered_again_and_inside_itself() -> None:
    scope = reproducible(3)
    before = describe()
    with scope:
        first = draw()
        with scope:
            assert draw() == first
        second = draw()
    with scope:
        assert (draw(), draw()) == (first, second)
    assert describe() == before


def test_a_nested_scope_does_not_disturb_the_enclosing_draws() -> None:
    with reproducible(3):
        undisturbed = [draw(), draw()]
    with reproducible(3):
        first = draw()
        with reproducible(4):
            other = draw()
        assert [first, draw()] == undisturbed
    assert other != first


def test_without_a_seed_the_generators_go_on_and_are_given_back() -> None:
    with reproducible(5):
        expected = [draw(), draw()]
    with reproducible(5):
        first = draw()
        with reproducible(seed=None):
            second = draw()
        assert [first, second] == expected
        assert draw() == second, "the draws inside must not move the generators outside"


def test_an_omitted_seed_is_the_enclosing_scopes_else_42() -> None:
    with reproducible() as run:
        assert run.seed == 42
    with reproducible(7), reproducible() as run:
        assert run.seed == 7
    with reproducible(0), reproducible(deterministic="warn") as run:
        assert run.seed == 0
    with reproducible(seed=None), reproducible() as run:
        assert run.seed is None
    with reproducible(7), reproducible(), reproducible(8), reproducible() as run:
        assert run.seed == 8


def test_positional_and_keyword_seed_are_one_argument() -> None:
    assert repr(reproducible(3)) == repr(reproducible(seed=3)) == "reproducible(seed=3, deterministic=True)"
    with pytest.raises(TypeError):
        reproducible(3, seed=4)  # type: ignore[call-overload]


def test_a_scope_that_is_not_enabled_does_nothing_in_any_form() -> None:
    scope = reproducible(3, enabled=False)

    def function() -> None: ...

    with reproducible(seed=None):
        before = describe()
        with scope as run:
            assert describe() == before
            assert current_run() is not run
            draw()
        after = describe()
        assert after != before
        assert scope.start().seed is None
        scope.stop()
        assert describe() == after
    assert scope(function) is function


@pytest.mark.parametrize("enabled", [True, False])
def test_a_loader_can_be_made_in_a_scope_that_seeds_nothing(enabled: bool) -> None:
    with reproducible(seed=None, enabled=enabled):
        assert make_loader(TensorDataset(torch.zeros(2))).generator is None


def test_the_number_of_threads_is_pinned_and_given_back() -> None:
    before = torch.get_num_threads()
    for count in (before + 1, 1):
        with reproducible(0, num_threads=count):
            assert torch.get_num_threads() == count
        assert torch.get_num_threads() == before


def test_variables_that_affect_numbers_are_given_back_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PL_GLOBAL_SEED", "WANDB_RUN_ID", "MASTER_ADDR"):
        monkeypatch.setenv(name, "outside")
    monkeypatch.delenv("NCCL_ALGO", raising=False)
    with reproducible(0):
        for name in ("PL_GLOBAL_SEED", "NCCL_ALGO", "WANDB_RUN_ID", "MASTER_ADDR"):
            os.environ[name] = "inside"
    assert os.environ["PL_GLOBAL_SEED"] == "outside"
    assert "NCCL_ALGO" not in os.environ
    assert os.environ["WANDB_RUN_ID"] == os.environ["MASTER_ADDR"] == "inside"


def test_default_dtype_and_device_are_given_back() -> None:
    with reproducible(seed=None):
        torch.set_default_device("meta")
        with reproducible(0):
            assert torch.empty(1).device.type == "meta"
            torch.set_default_dtype(torch.float64)
            torch.set_default_device(None)
            assert torch.empty(1).device.type == "cpu"
        assert torch.empty(1).dtype == torch.float32
        assert torch.empty(1).device.type == "meta"
    assert torch.empty(1).device.type == "cpu"


@pytest.mark.parametrize(
    "cached",
    [lambda: random.gauss(0, 1), np.random.normal, lambda: torch.randn(1, dtype=torch.float64).item()],
    ids=["python", "numpy", "torch"],
)
def test_a_cached_normal_deviate_stays_outside_and_comes_back(cached: Callable[[], float]) -> None:
    with reproducible(5):
        undisturbed = [cached(), cached(), cached()]
    with reproducible(5):
        first = cached()  # and another one is ready
        with reproducible(5):
            assert cached() == undisturbed[0]
        assert [first, cached(), cached()] == undisturbed


def test_a_bit_generator_put_in_place_inside_is_gone_afterwards() -> None:
    outside = numpy_random.get_bit_generator()
    with reproducible(0):
        numpy_random.set_bit_generator(np.random.PCG64(1))
        np.random.rand()
    assert numpy_random.get_bit_generator() is outside


def test_a_bit_generator_put_in_place_outside_is_seeded_and_given_back() -> None:
    with reproducible(seed=None):
        mine = np.random.PCG64(1)
        numpy_random.set_bit_generator(mine)
        before = dict(mine.state)
        drawn = []
        for _ in range(2):
            with reproducible(0):
                drawn.append(np.random.rand())
            assert numpy_random.get_bit_generator() is mine
            assert dict(mine.state) == before
    assert drawn[0] == drawn[1]


def test_seed_everything_seeds_as_a_scope_does_and_returns_torchs_generator() -> None:
    with reproducible(9, deterministic=False):
        expected = draw()
    with reproducible(seed=None, deterministic=False):
        before = describe()
        assert seed_everything(9) is torch.default_generator
        assert torch.initial_seed() == 9
        after = describe()
        assert draw() == expected
        moved = {name for name in before if after[name] != before[name]}
        assert moved - {"torch.cuda"} == {"python.random", "numpy.random", "torch.cpu"}
        seed_everything(9, deterministic="warn")
        assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_seed_everything_seeds_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        name, kind = "failing", "rng"

        def capture(self) -> None: ...

        def apply(self, config: Any) -> Applied:
            raise OSError("the device is gone")

        restore = describe = encode = decode = lambda self, state: NOTHING.values

    monkeypatch.setattr("deterministic.sources.SOURCES", [*SOURCES, Failing()])
    before = describe()
    with pytest.raises(OSError, match="gone"):
        seed_everything(3, deterministic=True)
    assert describe() == before
