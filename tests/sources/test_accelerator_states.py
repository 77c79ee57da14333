"""The states of accelerators: how they are described, and how they travel in checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from deterministic.errors import ResumeMismatchError
from deterministic.ground.source import RngSource
from deterministic.sources.accelerators import LazyAccelerator
from tests.fakes import fake_accelerator
from tests.sources.accelerator_blocks import (
    QUEUES,
    all_sources,
    block,
    lazy_kinds,
    queue_a_state_and_a_seed,
    queue_a_state_of_one_device,
    same,
    saved_and_loaded,
)

# Descriptions


def described_after(prepare: Callable[[Any], None]) -> Any:
    source = LazyAccelerator("cuda")
    with fake_accelerator() as fake:
        prepare(fake.module)
        return source.describe(source.capture())


def test_a_queue_is_described_by_what_it_holds_in_order() -> None:
    digest = described_after(queue_a_state_of_one_device)["queued"][1].rpartition(" ")[2].rstrip(")")
    described = described_after(queue_a_state_and_a_seed)
    assert described["initialized"] is False
    assert described["queued"][1:] == [
        f"set_rng_state.<locals>.cb(cuda:1, {digest})",
        "manual_seed.<locals>.cb(1)",
    ]


def test_different_queues_are_described_differently() -> None:
    with fake_accelerator():
        texts = [repr(described_after(prepare)["queued"][1:]) for prepare, _ in QUEUES]
    assert len(set(texts)) == len(texts)


def test_equal_queues_are_described_equally() -> None:
    for prepare, _ in QUEUES:
        first, second = described_after(prepare), described_after(prepare)
        assert first["queued"][1:] == second["queued"][1:]


def test_two_calls_queued_by_someone_else_are_told_apart() -> None:
    source = LazyAccelerator("cuda")
    with fake_accelerator() as fake:
        fake.queue_unrelated()
        described: Any = source.describe(source.capture())
    first, second = described["queued"]
    assert first != second


def test_states_are_described_device_by_device() -> None:
    source = LazyAccelerator("cuda")
    with fake_accelerator(initialized=True) as fake, block(source, 42):
        seeded: Any = source.describe(source.capture())
        fake.draw(1)
        drawn: Any = source.describe(source.capture())
    assert seeded["initialized"] is True
    assert seeded["devices"][0] == seeded["devices"][1] == drawn["devices"][0] != drawn["devices"][1]


# Checkpoints


@lazy_kinds
def test_states_travel_through_a_checkpoint(kind: str) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, initialized=True) as fake, block(source, 42):
        fake.draw(1)
        plain = saved_and_loaded(source.encode(source.capture()))
        expected = fake.states()
    assert plain["initialized"] is True
    assert [state.dtype for state in plain["states"]] == [torch.uint8] * 2
    with fake_accelerator(kind, initialized=True) as fake:
        source.restore(source.decode(plain))
        assert fake.states() == expected


@lazy_kinds
def test_loaded_before_the_first_use_states_wait_for_it(kind: str) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, initialized=True) as fake:
        fake.draw(1)
        plain, expected = source.encode(source.capture()), fake.states()
    with fake_accelerator(kind) as fake:
        torch.manual_seed(1)
        with block(source, 42):
            source.restore(source.decode(plain))
            assert not fake.module.is_initialized()
            again = saved_and_loaded(source.encode(source.capture()))
            assert [state.tolist() for state in again["states"]] == expected
            fake.init()
            assert fake.states() == expected
        assert fake.seeds() == [1, 1]


@lazy_kinds
def test_a_seed_set_after_loading_wins(kind: str) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind) as fake:
        source.restore((torch.Generator().get_state(),) * 2)
        torch.manual_seed(5)
        assert source.encode(source.capture()) == {"initialized": False, "states": []}
        fake.init()
        assert fake.seeds() == [5, 5]


@lazy_kinds
@pytest.mark.parametrize("initialized", [False, True])
def test_saved_before_the_first_use_it_leaves_the_device_as_it_is(kind: str, initialized: bool) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind):
        torch.manual_seed(1)
        plain = saved_and_loaded(source.encode(source.capture()))
    assert plain == {"initialized": False, "states": []}
    with fake_accelerator(kind, initialized=initialized) as fake, block(source, 42):
        if not initialized:
            assert source.encode(source.capture()) == plain
        state = source.decode(plain)
        before = fake.queue(), fake.states()
        source.restore(state)
        assert same(before[0], fake.queue())
        assert fake.states() == before[1]
        assert source.encode(state) == plain
        assert source.describe(state) == {"initialized": False}


@lazy_kinds
@pytest.mark.parametrize("initialized", [False, True])
def test_another_number_of_devices_is_refused(kind: str, initialized: bool) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, devices=3, initialized=True):
        plain = source.encode(source.capture())
    with fake_accelerator(kind, initialized=initialized) as fake:
        before = source.describe(source.capture())
        with pytest.raises(ResumeMismatchError) as raised:
            source.decode(plain)
        assert source.describe(source.capture()) == before
        assert fake.initialisations == int(initialized)
    assert str(raised.value) == (
        f"torch.{kind} has another number of devices than the saved state\n"
        "  found: 2\n"
        "  expected: 3, as saved\n"
        "Resume where as many devices are visible as there were when it was saved."
    )


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="for machines without a GPU")
@all_sources
def test_states_of_a_device_are_refused_where_there_is_none(source: RngSource) -> None:
    with pytest.raises(ResumeMismatchError, match=r"found: 0\n  expected: 1, as saved"):
        source.decode({"initialized": True, "states": [torch.zeros(16, dtype=torch.uint8)]})


WRONG = [torch.zeros(3, dtype=torch.uint8), torch.zeros(5056), torch.zeros(2, 2528, dtype=torch.uint8), 5]


@lazy_kinds
@pytest.mark.parametrize("state", WRONG, ids=lambda state: str(getattr(state, "shape", state)))
def test_what_is_no_state_is_refused_and_no_device_is_touched(kind: str, state: Any) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, initialized=True) as fake:
        plain, before = source.encode(source.capture()), fake.states()
        for wrong in ([plain["states"][0], state], [state, plain["states"][0]]):
            with pytest.raises((ValueError, RuntimeError, AttributeError)):
                source.decode({**plain, "states": wrong})
        assert fake.states() == before
    if state is not WRONG[0]:  # before the first use nobody knows how long one is
        with fake_accelerator(kind), pytest.raises((ValueError, AttributeError)):
            source.decode({**plain, "states": [state, state]})


class _OnAnotherDevice(torch.Tensor):
    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.zeros(3, dtype=torch.uint8)


def test_states_that_were_loaded_onto_the_device_come_back_to_the_host() -> None:
    with fake_accelerator(devices=1):
        state = LazyAccelerator("cuda").decode({"initialized": True, "states": [_OnAnotherDevice()]})
    assert state is not None
    assert [type(device) for device in state] == [torch.Tensor]
