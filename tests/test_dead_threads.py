"""Threads that end with a scope open: whoever enters next closes it, and says so."""

from __future__ import annotations

import _thread
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from deterministic import current_run, reproducible
from deterministic.errors import DeterministicError, ScopeConflictError, ScopeOrderWarning

from .streams import SECONDS, Draw, draw, stream


def enter_and_leave() -> list[Draw]:
    with reproducible(seed=3):
        return [draw(), draw()]


def enter_in_turn() -> list[Draw]:
    with reproducible(seed=3, on_conflict="wait"):
        return [draw(), draw()]


def run_in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def open_for_ever(seed: int = 3) -> None:
    reproducible(seed=seed).__enter__()


def test_a_scope_of_a_thread_that_has_ended_is_closed_with_a_warning_that_names_its_line() -> None:
    before = torch.get_rng_state()
    thread = threading.Thread(target=open_for_ever, name="gone")
    thread.start()
    thread.join()
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.warns(ScopeOrderWarning) as warned:
        assert enter_and_leave() == stream(3, 2)
    (warning,) = warned
    assert f"{__file__}:{open_for_ever.__code__.co_firstlineno + 1}" in str(warning.message)
    assert "gone" in str(warning.message)
    assert warning.filename == __file__
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_each_scope_of_a_thread_that_has_ended_is_closed() -> None:
    def open_two() -> None:
        open_for_ever(1)
        open_for_ever(2)

    run_in_thread(open_two)
    with pytest.warns(ScopeOrderWarning) as warned:
        enter_and_leave()
    assert len(warned) == 2
    with pytest.raises(DeterministicError, match="no scope is open"):
        current_run()


def test_a_thread_that_waits_sees_that_the_other_one_has_ended() -> None:
    opened, end = threading.Event(), threading.Event()

    def open_and_end() -> None:
        open_for_ever()
        opened.set()
        assert end.wait(SECONDS)

    def ended() -> list[Draw]:
        end.set()
        return waiting.result(SECONDS)

    other = threading.Thread(target=open_and_end)
    other.start()
    assert opened.wait(SECONDS)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(enter_in_turn)
        time.sleep(0.05)
        assert not waiting.done()
        with pytest.warns(ScopeOrderWarning):
            assert ended() == stream(3, 2)


def test_closing_the_scope_of_an_ended_thread_leaves_the_closer_s_own_settings_alone() -> None:
    # The default device and autocast belong to each thread: what the dead one had is not this one's.
    run_in_thread(open_for_ever)
    torch.set_default_device("meta")
    try:
        with torch.autocast("cpu", torch.bfloat16), pytest.warns(ScopeOrderWarning), reproducible(seed=3):
            pass
        assert torch.get_default_device() == torch.device("meta")
    finally:
        torch.set_default_device(None)


def run_as_raw_thread(function: Callable[[], object]) -> None:
    """Run on a thread that the threading module did not start, as C++ code does, and wait for its end."""
    done = _thread.allocate_lock()
    done.acquire()

    def body() -> None:
        try:
            function()
        finally:
            done.release()

    _thread.start_new_thread(body, ())
    assert done.acquire(timeout=SECONDS)
    time.sleep(0.05)


def test_a_thread_that_python_did_not_start_is_one_too() -> None:
    refused = []

    def try_to_enter() -> None:
        try:
            enter_and_leave()
        except ScopeConflictError as error:
            refused.append(error)

    with reproducible(seed=1):
        run_as_raw_thread(try_to_enter)
        assert [draw()] == stream(1, 1)
    assert len(refused) == 1
    run_as_raw_thread(open_for_ever)
    with pytest.warns(ScopeOrderWarning, match="ended with a scope open"):
        assert enter_and_leave() == stream(3, 2)


def in_a_thread_with(identifier: int, function: Callable[[], object]) -> None:
    """Start threads until the system gives one this identifier, and run there."""
    found = threading.Event()

    def body() -> None:
        if threading.get_ident() == identifier:
            found.set()
            function()

    for _ in range(1000):
        run_in_thread(body)
        if found.is_set():
            return
    pytest.skip("the system did not reuse the identifier")


@pytest.mark.parametrize("run", [run_in_thread, run_as_raw_thread])
def test_a_new_thread_with_the_identifier_of_an_ended_one_is_another_thread(
    run: Callable[[Callable[[], object]], None],
) -> None:
    identifiers = []
    warned: list[warnings.WarningMessage] = []
    outcome: list[object] = []

    def start() -> None:
        identifiers.append(threading.get_ident())
        open_for_ever()

    def enter() -> None:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                outcome.append(enter_and_leave())
            warned.extend(caught)
        except ScopeConflictError as error:
            outcome.append(error)

    run(start)
    in_a_thread_with(identifiers[0], enter)
    assert outcome == [stream(3, 2)]
    assert [warning.category for warning in warned] == [ScopeOrderWarning]
