"""Accelerators that are first used inside the block: seeded by it, and afterwards as if first used outside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from deterministic.ground.config import Config
from deterministic.ground.seeds import torch_seed
from deterministic.ground.source import RngSource
from deterministic.sources.accelerators import LazyAccelerator
from tests.fakes import fake_accelerator
from tests.sources.accelerator_blocks import (
    RestoresNothing,
    RestoresTheFirstDevice,
    block,
    lazy_kinds,
    queues,
)

# First used in the block


@lazy_kinds
def test_a_device_first_used_in_the_block_has_its_seed(kind: str) -> None:
    with fake_accelerator(kind) as fake:
        torch.manual_seed(1)
        fake.module.manual_seed(5)
        fake.module.set_rng_state(torch.Generator().manual_seed(7).get_state(), 1)
        with block(LazyAccelerator(kind), 42):
            fake.init()
            assert fake.seeds() == [42, 42]
            assert fake.draw(1) == torch.rand(3, generator=torch.Generator().manual_seed(42)).tolist()


@lazy_kinds
def test_a_seed_of_64_bits_reaches_the_device_as_it_reaches_the_cpu(kind: str) -> None:
    with fake_accelerator(kind) as fake, block(LazyAccelerator(kind), 2**40):
        fake.init()
        assert fake.seeds() == [torch_seed(2**40)] * 2


def leaves_it_as_if_first_used_afterwards(
    source: RngSource, kind: str, prepare: Callable[[Any], None], expected: list[int | None]
) -> None:
    with fake_accelerator(kind) as fake:
        prepare(fake.module)
        with block(source, 42):
            fake.init()
            fake.draw(0)
            fake.draw(1)
        fresh = [seed for seed, known in zip(fake.seeds(), expected, strict=True) if known is None]
        assert 42 not in fresh
        assert len(set(fresh)) == len(fresh)
        found = [None if known is None else seed for seed, known in zip(fake.seeds(), expected, strict=True)]
        assert found == expected
        for seed, state in zip(fake.seeds(), fake.states(), strict=True):
            assert state == torch.Generator().manual_seed(seed).get_state().tolist(), "drawn from since it was seeded"
        assert fake.unrelated_calls == 1
        assert fake.initialisations == 1


def outside(kind: str, prepare: Callable[[Any], None], expected: list[int | None]) -> list[int | None]:
    """Return the seeds, where they are known, of devices first used where there is no block at all."""
    with fake_accelerator(kind) as fake:
        prepare(fake.module)
        fake.init()
        return [None if known is None else seed for seed, known in zip(fake.seeds(), expected, strict=True)]


@lazy_kinds
@queues
def test_afterwards_it_is_as_if_first_used_outside(
    kind: str, prepare: Callable[[Any], None], expected: list[int | None]
) -> None:
    assert outside(kind, prepare, expected) == expected
    leaves_it_as_if_first_used_afterwards(LazyAccelerator(kind), kind, prepare, expected)


@pytest.mark.parametrize("wrong", [RestoresNothing, RestoresTheFirstDevice])
@queues
def test_the_check_of_first_use_can_fail(
    wrong: type[LazyAccelerator], prepare: Callable[[Any], None], expected: list[int | None]
) -> None:
    with pytest.raises(AssertionError):
        leaves_it_as_if_first_used_afterwards(wrong("cuda"), "cuda", prepare, expected)


def test_without_a_queued_seed_every_block_ends_with_another_one() -> None:
    source = LazyAccelerator("cuda")
    with fake_accelerator() as fake:
        state = source.capture()
        fake.init()
        seen = set()
        for _ in range(5):
            source.apply(Config(seed=42))
            source.restore(state)
            seen |= set(fake.seeds())
        assert len(seen) == 10


def test_an_offset_that_was_queued_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_accelerator() as fake:
        seen: list[tuple[int, int]] = []
        monkeypatch.setattr(torch.cuda, "_get_generator", lambda device: _Offset(device.index, seen))
        torch.cuda._set_rng_state_offset(8, 1)
        with block(LazyAccelerator("cuda"), 42):
            fake.init()
        assert seen == [(1, 8), (1, 8)]


class _Offset:
    """CPU generators have none."""

    def __init__(self, device: int, seen: list[tuple[int, int]]) -> None:
        self._device, self._seen = device, seen

    def set_offset(self, offset: int) -> None:
        self._seen.append((self._device, offset))


def test_nested_blocks_first_used_in_the_inner_one() -> None:
    source = LazyAccelerator("cuda")
    with fake_accelerator() as fake:
        torch.cuda.manual_seed_all(1)
        with block(source, 2):
            with block(source, 3):
                fake.init()
                assert fake.seeds() == [3, 3]
            assert fake.seeds() == [2, 2]
        assert fake.seeds() == [1, 1]


@pytest.mark.parametrize("restores", [False, True])
def test_the_seed_reaches_a_device_that_another_thread_is_initialising(restores: bool) -> None:
    source = LazyAccelerator("cuda")
    inside, go_on = threading.Event(), threading.Event()
    with fake_accelerator() as fake:

        def wait() -> None:
            inside.set()
            assert go_on.wait(10)

        torch.cuda.manual_seed_all(1)
        state = source.capture()
        torch.cuda._lazy_call(wait)
        torch.cuda.manual_seed_all(2)
        initialising = threading.Thread(target=fake.init)
        initialising.start()
        assert inside.wait(10)
        seed, call = (1, lambda: source.restore(state)) if restores else (42, lambda: source.apply(Config(seed=42)))
        other = threading.Thread(target=call)
        other.start()
        other.join(0.2)
        go_on.set()
        initialising.join(10)
        other.join(10)
        assert fake.seeds() == [seed, seed]
