"""SIGINT's handler: there while the main thread needs it and no longer, and never in the way of the user's own."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest

from deterministic import reproducible
from deterministic.errors import ScopeOrderWarning
from deterministic.scope import stack

from .streams import SECONDS
from .test_autograd import backward_on_an_autograd_thread


def test_a_handler_that_the_body_installs_is_used_and_stays() -> None:
    arrived = []

    def handle(signum: int, frame: FrameType | None) -> None:
        arrived.append(signum)

    before = signal.getsignal(signal.SIGINT)
    try:
        with reproducible(1):
            signal.signal(signal.SIGINT, handle)
            with reproducible(2):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handle
    finally:
        signal.signal(signal.SIGINT, before)
    assert arrived == [signal.SIGINT] * 2


@pytest.mark.parametrize("action", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_signal_that_is_ignored_or_kills_stays_so(action: signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, action)
    try:
        with reproducible(1):
            assert signal.getsignal(signal.SIGINT) is action
        assert signal.getsignal(signal.SIGINT) is action
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_scope_of_another_thread_installs_no_handler() -> None:
    def enter() -> object:
        with reproducible(1):
            return signal.getsignal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result(SECONDS) is before


def test_the_handler_goes_with_the_main_thread_s_last_scope_even_if_another_thread_s_stays_open() -> None:
    around, inside, left_open = reproducible(1), reproducible(2), reproducible(3)
    before = signal.getsignal(signal.SIGINT)
    around.start()
    inside.start()
    backward_on_an_autograd_thread(left_open.start)
    try:
        with pytest.warns(ScopeOrderWarning):
            inside.stop()
        assert signal.getsignal(signal.SIGINT) is not before
        with pytest.warns(ScopeOrderWarning):
            around.stop()
        assert [entry.request for entry in stack._entries] == [left_open]
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        left_open.stop()
