"""Accelerators in forked children, while a graph is captured, and under older versions of torch."""

from __future__ import annotations

import pytest
import torch

from deterministic.ground.config import Config
from deterministic.ground.source import NOTHING
from deterministic.sources.accelerators import LazyAccelerator, capturing
from deterministic.sources.registry import check_source
from tests.fakes import fake_accelerator
from tests.sources.accelerator_blocks import (
    block,
    lazy_kinds,
    same,
)

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
