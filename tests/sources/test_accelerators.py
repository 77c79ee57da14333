from __future__ import annotations

import io
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from deterministic._config import Config
from deterministic._seeds import torch_seed
from deterministic.errors import ResumeMismatchError
from deterministic.sources.accelerators import LazyAccelerator, Mps, PrivateUse1, State, capturing
from deterministic.sources.base import NOTHING, RngSource
from deterministic.sources.conformance import check_source
from tests.fakes import LAZY_KINDS, FakeAccelerator, fake_accelerator, fake_mps, fake_privateuse1, preserved_torch

ALL = [LazyAccelerator("cuda"), LazyAccelerator("xpu"), LazyAccelerator("mtia"), Mps(), PrivateUse1()]
all_sources = pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
lazy_kinds = pytest.mark.parametrize("kind", LAZY_KINDS)


@contextmanager
def block(source: RngSource, seed: int | None) -> Iterator[None]:
    """Do with one source what a scope does with all."""
    state = source.capture()
    try:
        source.apply(Config(seed=seed))
        yield
    finally:
        source.restore(state)


def same(before: list[Any], after: list[Any]) -> bool:
    """Return whether two queues hold the same objects."""
    return len(before) == len(after) and all(a is b or a == b for a, b in zip(before, after, strict=True))


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


class _RestoresNothing(LazyAccelerator):
    def restore(self, state: State) -> None: ...


class _InitialisesToCapture(LazyAccelerator):
    def capture(self) -> State:
        self._bound.init()
        return super().capture()


@pytest.mark.parametrize("wrong", [_RestoresNothing, _InitialisesToCapture])
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


def queue_nothing(module: Any) -> None: ...


def queue_a_seed(module: Any) -> None:
    module.manual_seed_all(1)


def queue_a_seed_and_another_for_the_current_device(module: Any) -> None:
    module.manual_seed_all(1)
    module.manual_seed(2)


def queue_these_in_the_other_order(module: Any) -> None:
    module.manual_seed(2)
    module.manual_seed_all(1)


def queue_states(module: Any) -> None:
    for device in (0, 1):
        module.set_rng_state(torch.Generator().manual_seed(70 + device).get_state(), device)


def queue_a_state_of_one_device(module: Any) -> None:
    module.set_rng_state(torch.Generator().manual_seed(7).get_state(), 1)


def queue_a_state_and_a_seed(module: Any) -> None:
    queue_a_state_of_one_device(module)
    module.manual_seed(1)


QUEUES: list[tuple[Callable[[Any], None], list[int | None]]] = [
    (queue_nothing, [None, None]),
    (queue_a_seed, [1, 1]),
    (queue_a_seed_and_another_for_the_current_device, [2, 1]),
    (queue_these_in_the_other_order, [1, 1]),
    (queue_states, [70, 71]),
    (queue_a_state_of_one_device, [None, 7]),
    (queue_a_state_and_a_seed, [1, 7]),
]


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


queues = pytest.mark.parametrize(("prepare", "expected"), QUEUES)


@lazy_kinds
@queues
def test_afterwards_it_is_as_if_first_used_outside(
    kind: str, prepare: Callable[[Any], None], expected: list[int | None]
) -> None:
    assert outside(kind, prepare, expected) == expected
    leaves_it_as_if_first_used_afterwards(LazyAccelerator(kind), kind, prepare, expected)


class _RestoresTheFirstDevice(LazyAccelerator):
    def restore(self, state: State) -> None:
        others = [generator.get_state() for generator in self._bound.default_generators[1:]]
        super().restore(state)
        for generator, other in zip(self._bound.default_generators[1:], others, strict=True):
            generator.set_state(other)


@pytest.mark.parametrize("wrong", [_RestoresNothing, _RestoresTheFirstDevice])
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


# After a fork


@lazy_kinds
@pytest.mark.parametrize("initialized", [False, True])
def test_a_forked_child_is_left_alone(kind: str, initialized: bool) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, initialized=initialized, in_bad_fork=True) as fake:
        before, states = fake.queue(), fake.states()
        with block(source, 42):
            assert source.apply(Config(seed=43)) is NOTHING
        assert same(before, fake.queue())
        assert fake.states() == states


@lazy_kinds
def test_a_state_captured_before_the_fork_is_not_set_in_the_child(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = LazyAccelerator(kind)
    with fake_accelerator(kind, initialized=True) as fake:
        state = source.capture()
        fake.draw()
        monkeypatch.setattr(fake.module, "_is_in_bad_fork", lambda: True)
        before, states = fake.queue(), fake.states()
        source.restore(state)
        assert same(before, fake.queue())
        assert fake.states() == states


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


def saved_and_loaded(plain: object) -> Any:
    file = io.BytesIO()
    torch.save(plain, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


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


class _OnAnotherDevice(torch.Tensor):
    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.zeros(3, dtype=torch.uint8)


def test_states_that_were_loaded_onto_the_device_come_back_to_the_host() -> None:
    with fake_accelerator(devices=1):
        state = LazyAccelerator("cuda").decode({"initialized": True, "states": [_OnAnotherDevice()]})
    assert state is not None
    assert [type(device) for device in state] == [torch.Tensor]


# Graph capture


def test_capturing_asks_only_devices_that_are_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with fake_accelerator() as fake:
        assert not capturing()
        fake.init()
        assert capturing()
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        assert not capturing()


def test_capturing_knows_torch_xpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_accelerator("xpu", initialized=True):
        monkeypatch.setattr(torch.xpu, "is_current_stream_capturing", lambda: True, raising=False)
        assert capturing()
        monkeypatch.delattr(torch.xpu, "is_current_stream_capturing")
        assert not capturing()


# Older versions of torch


def test_a_module_without_generators_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.mtia, "default_generators", raising=False)
    source = LazyAccelerator("mtia")
    state = source.capture()
    assert state is None
    assert source.apply(Config(seed=1)) is NOTHING
    source.restore(state)
    assert source.encode(state) == {"initialized": False, "states": []}


def test_a_module_that_is_not_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "mtia")
    check_source(LazyAccelerator("mtia"))


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


# Real devices

gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture(scope="session")
def initialised_cuda() -> None:
    torch.cuda.init()


def cuda_states() -> list[list[int]]:
    return [state.tolist() for state in torch.cuda.get_rng_state_all()]


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_keeps_the_contract() -> None:
    check_source(LazyAccelerator("cuda"))


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_draws_the_same_in_each_block_and_is_given_back() -> None:
    before = cuda_states()
    drawn = []
    for _ in range(2):
        with block(LazyAccelerator("cuda"), 42):
            drawn.append([torch.rand(5, device=f"cuda:{i}").tolist() for i in range(torch.cuda.device_count())])
        assert cuda_states() == before
    with block(LazyAccelerator("cuda"), None):
        torch.cuda.manual_seed_all(42)
        by_hand = [torch.rand(5, device=f"cuda:{i}").tolist() for i in range(torch.cuda.device_count())]
    assert drawn == [by_hand, by_hand]


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_states_travel_through_a_checkpoint_loaded_onto_the_device() -> None:
    source = LazyAccelerator("cuda")
    with block(source, 42):
        torch.rand(5, device="cuda")
        file = io.BytesIO()
        torch.save(source.encode(source.capture()), file)
        expected = cuda_states()
        torch.rand(5, device="cuda")
        file.seek(0)
        source.restore(source.decode(torch.load(file, map_location="cuda", weights_only=True)))
        assert cuda_states() == expected


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_says_when_it_captures_a_graph() -> None:
    assert not capturing()
    values = torch.zeros(3, device="cuda")
    inside = []
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        values += 1
        inside.append(capturing())
    assert inside == [True]
    assert not capturing()


IN_A_FRESH_PROCESS = """
    import torch
    from deterministic._config import Config
    from deterministic.sources.accelerators import LazyAccelerator, capturing

    source, devices = LazyAccelerator("cuda"), range(torch.cuda.device_count())
    {prepare}
    state = source.capture()
    source.apply(Config(seed=42))
    assert not capturing() and not torch.cuda.is_initialized()
    inside = [torch.rand(5, device=f"cuda:{{i}}").tolist() for i in devices]
    source.restore(state)
    outside = [torch.rand(5, device=f"cuda:{{i}}").tolist() for i in devices]
    torch.cuda.manual_seed_all(42)
    assert inside == [torch.rand(5, device=f"cuda:{{i}}").tolist() for i in devices], "the block's seed"
    {check}
"""


@gpu
@needs_cuda
@pytest.mark.parametrize(
    ("prepare", "check"),
    [
        ("pass", "assert outside != inside"),
        (
            "torch.manual_seed(1)",
            "torch.cuda.manual_seed_all(1)\n"
            '    assert outside == [torch.rand(5, device=f"cuda:{i}").tolist() for i in devices]',
        ),
        (
            "saved = torch.zeros(16, dtype=torch.uint8); saved[0] = 7; torch.cuda.set_rng_state(saved, 0)",
            'torch.cuda.set_rng_state(saved, 0); assert outside[0] == torch.rand(5, device="cuda:0").tolist()',
        ),
    ],
    ids=["nothing queued", "a seed queued", "a state queued"],
)
def test_cuda_first_used_in_the_block(prepare: str, check: str) -> None:
    program = textwrap.dedent(IN_A_FRESH_PROCESS.format(prepare=prepare, check=check))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fakes_leave_torch_as_it_was() -> None:
    modules = (torch.cuda, torch.xpu, torch.mtia, torch.mps, torch.backends.mps, torch._C, torch)
    before = [dict(vars(module)) for module in modules]
    state = torch.default_generator.get_state()
    for kind in LAZY_KINDS:
        with fake_accelerator(kind) as fake:
            torch.manual_seed(1)
            fake.init()
    with fake_mps(), fake_privateuse1():
        torch.manual_seed(2)
    after = [dict(vars(module)) for module in modules]
    for names, now in zip(before, after, strict=True):
        assert {name for name in names if names[name] is not now.get(name)} == set()
        assert names.keys() == now.keys()
    assert torch.equal(torch.default_generator.get_state(), state)


def test_the_fake_runs_the_queue_of_torch_itself() -> None:
    with fake_accelerator() as fake:
        assert isinstance(fake, FakeAccelerator)
        torch.manual_seed(3)
        assert fake.unrelated_calls == 0
        torch.cuda.current_device()
        assert not torch.cuda.is_initialized()
        assert len(torch.cuda.get_rng_state_all()) == 2
        assert torch.cuda.is_initialized()
        assert fake.unrelated_calls == 1
        assert fake.seeds() == [3, 3]
