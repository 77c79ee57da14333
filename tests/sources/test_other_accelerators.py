"""torch.mps and the backend behind PrivateUse1, fake."""

from __future__ import annotations

import pytest
import torch

from deterministic.errors import ResumeMismatchError
from deterministic.ground.config import Config
from deterministic.ground.seeds import torch_seed
from deterministic.ground.source import NOTHING
from deterministic.sources.accelerators import Mps, PrivateUse1
from deterministic.sources.registry import check_source
from tests.fakes import fake_mps, fake_privateuse1
from tests.sources.accelerator_blocks import (
    block,
    saved_and_loaded,
)

# torch.mps


def test_mps_keeps_the_contract() -> None:
    with fake_mps():
        check_source(Mps())


def test_mps_is_seeded_and_given_back() -> None:
    with fake_mps() as generator:
        generator.manual_seed(1)
        torch.randn(1, generator=generator)
        before = generator.get_state().tolist()
        with block(Mps(), 2**40):
            assert generator.initial_seed() == torch_seed(2**40)
            torch.rand(3, generator=generator)
        assert generator.get_state().tolist() == before


def test_mps_travels_through_a_checkpoint() -> None:
    with fake_mps() as generator:
        expected = generator.get_state().tolist()
        plain = saved_and_loaded(Mps().encode(Mps().capture()))
        generator.seed()
        Mps().restore(Mps().decode(plain))
        assert generator.get_state().tolist() == expected
        plain["states"] *= 2
        with pytest.raises(ResumeMismatchError, match=r"torch\.mps has another number of devices"):
            Mps().decode(plain)


def test_a_state_of_another_length_is_none_of_mps() -> None:
    with fake_mps() as generator:
        before = generator.get_state().tolist()
        with pytest.raises(ValueError, match=r"not a state of torch\.mps: torch\.uint8 of shape \[3\]"):
            Mps().decode({"initialized": True, "states": [torch.zeros(3, dtype=torch.uint8)]})
        assert generator.get_state().tolist() == before


def test_mps_without_a_gpu_or_after_a_fork_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_mps(available=False) as generator:
        seed = generator.initial_seed()
        with block(Mps(), 42):
            assert Mps().apply(Config(seed=42)) is NOTHING
        assert generator.initial_seed() == seed
    with fake_mps() as generator:
        state = Mps().capture()
        seed = generator.seed()
        monkeypatch.setattr(torch.mps, "_is_in_bad_fork", lambda: True)
        assert Mps().apply(Config(seed=42)) is NOTHING
        Mps().restore(state)
        assert generator.initial_seed() == seed


# The backend behind PrivateUse1


@pytest.mark.parametrize("lazy", [False, True])
def test_privateuse1_keeps_the_contract(lazy: bool) -> None:
    with fake_privateuse1(lazy=lazy):
        if lazy:
            # Its functions are the backend's own, so that two equal seeds in its queue are not known to be equal.
            with block(PrivateUse1(), 1):
                pass
        else:
            check_source(PrivateUse1())


def test_privateuse1_is_seeded_and_given_back_on_each_device() -> None:
    with fake_privateuse1() as backend:
        for seed, generator in enumerate(backend.generators):
            generator.manual_seed(seed)
            torch.randn(1, generator=generator)
        before = [generator.get_state().tolist() for generator in backend.generators]
        with block(PrivateUse1(), 42):
            assert backend.seeds() == [42, 42]
        assert [generator.get_state().tolist() for generator in backend.generators] == before


def test_privateuse1_travels_through_a_checkpoint() -> None:
    source = PrivateUse1()
    with fake_privateuse1() as backend:
        plain = saved_and_loaded(source.encode(source.capture()))
        expected = backend.seeds()
        backend.module.manual_seed_all(1)
        source.restore(source.decode(plain))
        assert backend.seeds() == expected
    with fake_privateuse1(devices=3), pytest.raises(ResumeMismatchError, match=r"found: 3\n  expected: 2, as saved"):
        source.decode(plain)


@pytest.mark.parametrize("without", [("get_rng_state", "set_rng_state"), ("manual_seed_all",), ("device_count",)])
def test_privateuse1_without_the_functions_is_left_alone_and_says_so(without: tuple[str, ...]) -> None:
    source = PrivateUse1()
    with fake_privateuse1(without=without) as backend:
        seeds = backend.seeds()
        state = source.capture()
        applied = source.apply(Config(seed=42))
        source.restore(state)
        assert backend.seeds() == seeds
        assert source.apply(Config()) is NOTHING
        (limit,) = applied.limits
        assert not applied.values
        assert limit.subject == backend.module.__name__
        missing = "/".join(without)
        assert limit.reason == f"{limit.subject} has no {missing}: its generators are neither seeded nor given back."


def test_privateuse1_with_a_queue_is_not_initialised() -> None:
    source = PrivateUse1()
    with fake_privateuse1(lazy=True) as backend:
        backend.module.manual_seed_all(1)
        before = list(backend.queue)
        for seed in range(10):
            with block(source, seed):
                assert len(backend.queue) == 2
        assert backend.queue == before
        assert not backend.initialized
        backend.init()
        assert backend.seeds() == [1, 1]


@pytest.mark.parametrize("queued", [False, True])
def test_privateuse1_with_a_queue_first_used_in_the_block(queued: bool) -> None:
    source = PrivateUse1()
    with fake_privateuse1(lazy=True) as backend:
        if queued:
            backend.module.manual_seed_all(1)
        with block(source, 42):
            backend.init()
            assert backend.seeds() == [42, 42]
        assert (backend.seeds() == [1, 1]) is queued
        assert 42 not in backend.seeds()


def test_privateuse1_after_a_fork_is_left_alone() -> None:
    source = PrivateUse1()
    with fake_privateuse1() as backend:
        vars(backend.module)["_is_in_bad_fork"] = lambda: True
        seeds = backend.seeds()
        with block(source, 42):
            assert source.apply(Config(seed=42)) is NOTHING
        assert backend.seeds() == seeds
