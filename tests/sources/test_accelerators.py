"""Accelerators of one make, fake: used before the block, or not at all."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import torch

from deterministic.ground.config import Config
from deterministic.ground.source import NOTHING, RngSource
from deterministic.sources.accelerators import LazyAccelerator, QueueOrStates, capturing
from deterministic.sources.registry import check_source
from tests.fakes import fake_accelerator, preserved_torch
from tests.sources.accelerator_blocks import (
    ALL,
    RestoresNothing,
    all_sources,
    block,
    lazy_kinds,
    same,
)

# What this machine has, which may be nothing


@all_sources
def test_it_keeps_the_contract(source: RngSource) -> None:
    check_source(source)


@all_sources
def test_it_is_a_generator_by_its_protocol_and_its_name(source: RngSource) -> None:
    assert isinstance(source, RngSource)
    assert source.kind == "rng"
    assert source.name.startswith("torch.")


@all_sources
def test_without_a_seed_nothing_is_done(source: RngSource) -> None:
    before = source.describe(source.capture())
    assert source.apply(Config(deterministic=True)) is NOTHING
    assert source.describe(source.capture()) == before


@pytest.mark.skipif(torch.cuda.is_available() or torch.xpu.is_available(), reason="for machines without a GPU")
@all_sources
def test_where_torch_was_built_without_the_device_nothing_is_reported(source: RngSource) -> None:
    built = f"_{source.name.removeprefix('torch.')}_init" in vars(torch._C) and source.name != "torch.mtia"
    with preserved_torch():
        assert (source.apply(Config(seed=1)) is NOTHING) is not built


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mtia"])
def test_a_seed_that_torch_queues_in_the_block_does_not_stay(kind: str) -> None:
    module: Any = getattr(torch, kind)
    with preserved_torch():
        torch.manual_seed(1)
        tracker, queue = dict(vars(module._lazy_seed_tracker)), module._queued_calls
        calls = list(queue)
        with block(LazyAccelerator(kind), 2):
            torch.manual_seed(3)
            torch.cuda.set_rng_state(torch.zeros(16, dtype=torch.uint8))
        assert vars(module._lazy_seed_tracker) == tracker
        assert module._queued_calls is queue
        assert queue == calls


def test_on_this_machine_no_device_is_initialised() -> None:
    before = [module.is_initialized() for module in (torch.cuda, torch.xpu, torch.mtia)]
    for source in ALL:
        with block(source, 1):
            source.encode(source.capture())
            source.describe(source.capture())
    assert not capturing()
    assert [module.is_initialized() for module in (torch.cuda, torch.xpu, torch.mtia)] == before


# Not initialised before the block, nor in it


@lazy_kinds
def test_it_keeps_the_contract_before_initialisation(kind: str) -> None:
    with fake_accelerator(kind) as fake:
        torch.manual_seed(1)
        fake.module.set_rng_state(torch.Generator().manual_seed(7).get_state(), 1)
        check_source(LazyAccelerator(kind))
        assert fake.initialisations == 0


def _set_cuda_rng_state(module: Any) -> None:
    """Do as Megatron-LM does."""

    def cb() -> None:
        module.default_generators[0].manual_seed(1)

    module._lazy_call(cb)


def leaves_the_queue_alone(source: RngSource, kind: str) -> None:
    with fake_accelerator(kind) as fake:
        for prepare in (lambda: None, lambda: torch.manual_seed(1), lambda: fake.module.manual_seed(5)):
            prepare()
            before, queue = fake.queue(), fake.module._queued_calls
            with block(source, 2):
                torch.manual_seed(3)
                fake.module.set_rng_state(torch.Generator().get_state(), 0)
                fake.module.seed()
                _set_cuda_rng_state(fake.module)
            assert same(before, fake.queue())
            assert queue is fake.module._queued_calls
        assert not fake.module.is_initialized()
        assert fake.initialisations == 0


@lazy_kinds
def test_before_initialisation_the_queue_is_given_back_call_by_call(kind: str) -> None:
    leaves_the_queue_alone(LazyAccelerator(kind), kind)


class _InitialisesToCapture(LazyAccelerator):
    def capture(self) -> QueueOrStates:
        self._bound.init()
        return super().capture()


@pytest.mark.parametrize("wrong", [RestoresNothing, _InitialisesToCapture])
def test_the_check_of_the_queue_can_fail(wrong: type[LazyAccelerator]) -> None:
    with pytest.raises(AssertionError):
        leaves_the_queue_alone(wrong("cuda"), "cuda")


@lazy_kinds
def test_the_queue_does_not_grow(kind: str) -> None:
    with fake_accelerator(kind) as fake:
        source = LazyAccelerator(kind)
        length = len(fake.queue())
        for seed in range(100):
            with block(source, seed), block(source, seed):
                assert len(fake.module._queued_calls) == 1
        assert len(fake.queue()) == length


@lazy_kinds
def test_a_captured_state_does_not_follow_later_changes(kind: str) -> None:
    with fake_accelerator(kind) as fake:
        source = LazyAccelerator(kind)
        torch.manual_seed(1)
        state = source.capture()
        before = source.describe(state)
        fake.module._lazy_seed_tracker.call_order.clear()
        fake.module._queued_calls.clear()
        torch.manual_seed(2)
        assert source.describe(state) == before
        source.restore(state)
        fake.init()
        assert fake.seeds() == [1, 1]


@lazy_kinds
def test_no_stack_is_formatted_for_a_queued_seed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_accelerator(kind) as fake:
        monkeypatch.setattr(traceback, "format_stack", lambda: pytest.fail("formatted a stack"))
        with block(LazyAccelerator(kind), 2):
            (call, origin) = fake.module._lazy_seed_tracker.manual_seed_all_cb
            assert callable(call)
            assert "".join(origin) == "queued by deterministic.reproducible\n"


@lazy_kinds
def test_what_a_library_queues_in_the_block_to_set_itself_up_stays(kind: str) -> None:
    with fake_accelerator(kind) as fake:
        with block(LazyAccelerator(kind), 2):
            fake.queue_unrelated()
            fake.module.set_rng_state(torch.Generator().get_state(), 0)
            fake.queue_unrelated()
        assert len(fake.module._queued_calls) == 3
        fake.init()
        assert fake.unrelated_calls == 3


# Initialised before the block


@lazy_kinds
def test_it_keeps_the_contract_after_initialisation(kind: str) -> None:
    with fake_accelerator(kind, initialized=True):
        check_source(LazyAccelerator(kind))


@lazy_kinds
def test_initialised_devices_are_seeded_and_given_back_each(kind: str) -> None:
    with fake_accelerator(kind, initialized=True) as fake:
        first, second = fake.module.default_generators
        first.manual_seed(1)
        second.manual_seed(2)
        torch.randn(1, generator=second)  # leaves a cached normal deviate behind
        before = fake.states()
        with block(LazyAccelerator(kind), 42):
            assert fake.seeds() == [42, 42]
            inside = fake.draw(0), fake.draw(1)
            assert inside[0] == inside[1]
        assert fake.states() == before
        assert fake.seeds() == [1, 2]


@lazy_kinds
def test_without_a_seed_draws_in_the_block_are_still_undone(kind: str) -> None:
    with fake_accelerator(kind, initialized=True) as fake:
        before = fake.states()
        with block(LazyAccelerator(kind), None):
            fake.draw(1)
            assert fake.states() != before
        assert fake.states() == before


# The block is left and entered again: a generator function, a coroutine


@pytest.mark.parametrize("initialized", [False, True])
@pytest.mark.parametrize("first_use", ["never", "in the block", "between"])
@lazy_kinds
def test_a_suspended_block_goes_on_where_it_stood(kind: str, first_use: str, initialized: bool) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, initialized=initialized) as fake:
        fake.module.manual_seed_all(1)
        outer = source.capture()
        source.apply(Config(seed=42))
        drawn: list[float] = []
        for step in range(3):
            if first_use == "in the block" and step == 1:
                fake.init()
            if fake.module.is_initialized():
                drawn += fake.draw(0)
            inner = source.capture()
            source.restore(outer)
            if first_use == "between" and step == 1:
                fake.init()
            if fake.module.is_initialized():
                assert fake.seeds() == [1, 1]
                fake.draw(0)
            outer = source.capture()
            source.restore(inner)
        source.restore(outer)
        fake.init()
        assert fake.seeds() == [1, 1]
        if drawn:
            assert drawn == torch.rand(len(drawn), generator=torch.Generator().manual_seed(42)).tolist()
        assert fake.initialisations == 1
