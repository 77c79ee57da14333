"""Ctrl-C around a fetch in the main process: whatever happens inside, it is held back until all is put back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
from torch.utils.data import SequentialSampler

from deterministic import reproducible
from deterministic.data.samples.isolation import Isolated, OwnStream
from deterministic.errors import ScopeConflictError

from ..streams import SECONDS, in_thread
from ..test_forks import in_child
from .datasets import Draws, loader


def is_held_back() -> bool:
    """Return whether SIGINT goes through the library's handler."""
    return type(signal.getsignal(signal.SIGINT)).__module__ == "deterministic.scope.interrupt"


@pytest.fixture(autouse=True)
def handler() -> Iterator[Any]:
    before = signal.getsignal(signal.SIGINT)
    yield before
    after = signal.signal(signal.SIGINT, before)
    assert after is before, "the handler was not put back"


class Watched(Draws):
    """Says of each sample whether Ctrl-C is held back once `during` was called."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        super().__init__(6)
        self.during = during

    def __getitem__(self, index: int) -> Any:
        self.during()
        return is_held_back()


def watched(during: Callable[[], object] = lambda: None, **arguments: Any) -> list[bool]:
    made = loader(Watched(during), batch_size=2, collate_fn=list, **arguments)
    return [held for batch in made for held in batch]


def enter_and_leave() -> None:
    with reproducible(2):
        pass


def test_a_sampler_that_was_asked_in_the_fetch_leaves_it_protected() -> None:
    assert watched(sampler=SequentialSampler(Watched())) == [True] * 6


def test_a_loader_that_the_dataset_iterates_leaves_the_fetch_protected() -> None:
    assert watched(watched) == [True] * 6


def test_a_scope_that_the_dataset_opens_and_closes_leaves_the_fetch_protected() -> None:
    assert watched(enter_and_leave) == [True] * 6


def test_a_scope_that_was_refused_inside_leaves_it_protected_and_the_handler_goes_at_the_end() -> None:
    holds, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with reproducible(1):
            holds.set()
            assert go_on.wait(SECONDS)

    def be_refused() -> None:
        with pytest.raises(ScopeConflictError):
            enter_and_leave()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert holds.wait(SECONDS)
        try:
            assert watched(be_refused) == [True] * 6
            assert not is_held_back()  # though a scope is open: another thread's
        finally:
            go_on.set()
        holding.result(SECONDS)


def test_a_scope_that_is_started_inside_is_protected_until_it_stops() -> None:
    scope = reproducible(1)
    with Isolated():
        scope.start()
    assert is_held_back()
    scope.stop()
    assert not is_held_back()


def test_a_scope_that_ends_inside_leaves_it_protected_to_its_end() -> None:
    scope = reproducible(None)
    scope.start()
    with Isolated():
        scope.stop()
        assert is_held_back()
    assert not is_held_back()


def test_inside_a_scope_the_handler_stays_when_the_fetch_is_over() -> None:
    with reproducible(1):
        assert watched() == [True] * 6
        assert is_held_back()


def test_a_handler_that_the_dataset_installs_stays(handler: Any) -> None:
    def own(signum: int, frame: FrameType | None) -> None:
        raise AssertionError

    with Isolated():
        signal.signal(signal.SIGINT, own)
        with Isolated():
            enter_and_leave()
            assert is_held_back()
    assert signal.signal(signal.SIGINT, handler) is own


def test_a_fetch_on_another_thread_needs_no_handler() -> None:
    assert in_thread(watched) == [False] * 6
    with Isolated():
        in_thread(lambda: watched(enter_and_leave))
        assert is_held_back()


def test_the_handler_goes_when_the_generators_cannot_be_read_or_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*state: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr("deterministic.data.samples.isolation._TORCH.capture", fail)
        with pytest.raises(OSError):
            Isolated().__enter__()
    assert not is_held_back()
    with monkeypatch.context() as patch, pytest.raises(OSError), Isolated():
        patch.setattr("deterministic.data.samples.isolation._TORCH.restore", fail)
    assert not is_held_back()
    stream = OwnStream(1)
    with monkeypatch.context() as patch, pytest.raises(OSError), stream:
        patch.setattr("deterministic.data.samples.isolation._TORCH.capture", fail)
    assert not is_held_back()
    enter_and_leave()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_child_that_was_forked_in_a_fetch_ends_it_as_the_parent_does() -> None:
    isolated = Isolated()

    def child() -> tuple[bool, bool]:
        enter_and_leave()
        during = is_held_back()
        isolated.__exit__(None, None, None)
        return during, is_held_back()

    with isolated:
        assert in_child(child) == (True, False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_child_that_another_thread_forked_in_the_meantime_is_in_no_fetch() -> None:
    def child() -> tuple[bool, bool]:
        enter_and_leave()
        after_scope = is_held_back()
        with Isolated():
            return after_scope, is_held_back()

    with Isolated():
        assert in_thread(lambda: in_child(child)) == (False, True)
