"""Several threads: one scope at a time, whoever comes second is refused or queues, a dead thread's scope is closed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from deterministic import reproducible
from deterministic.errors import ScopeConflictError

from .streams import SECONDS, Draw, draw, in_thread, line_above, stream


@reproducible(seed=3)
def two_draws() -> list[Draw]:
    return [draw(), draw()]


@reproducible(seed=3, on_conflict="wait")
def two_draws_in_turn() -> list[Draw]:
    return [draw(), draw()]


def enter_and_leave() -> list[Draw]:
    with reproducible(seed=3):
        return [draw(), draw()]


def enter_in_turn() -> list[Draw]:
    with reproducible(seed=3, on_conflict="wait"):
        return [draw(), draw()]


@contextmanager
def another_thread_in_a_scope() -> Iterator[None]:
    holds, go_on = threading.Event(), threading.Event()

    def hold() -> list[Draw]:
        with reproducible(seed=1):
            holds.set()
            assert go_on.wait(SECONDS)
            return [draw(), draw()]

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert holds.wait(SECONDS)
        try:
            yield
        finally:
            go_on.set()
        assert holding.result(SECONDS) == stream(1, 2)


@pytest.mark.parametrize("enter", [enter_and_leave, two_draws])
def test_a_second_thread_is_refused_and_told_the_line_and_the_way_out(enter: Callable[[], list[Draw]]) -> None:
    with reproducible(seed=1):
        line = line_above()
        first = draw()
        with pytest.raises(ScopeConflictError) as refused:
            in_thread(enter)
        assert [first, draw()] == stream(1, 2)
    text = str(refused.value)
    assert line in text
    assert __file__ in text.partition("wanted:")[2]
    assert "@reproducible" in text
    assert 'on_conflict="wait"' in text
    assert isinstance(refused.value, RuntimeError)


def test_the_thread_that_holds_a_decorated_function_is_named_by_the_line_of_the_function() -> None:
    holds, refused = threading.Event(), threading.Event()

    @reproducible(seed=1)
    def hold() -> None:
        holds.set()
        assert refused.wait(SECONDS)

    with ThreadPoolExecutor(1, "holder") as pool:
        holding = pool.submit(hold)
        assert holds.wait(SECONDS)
        with pytest.raises(ScopeConflictError, match=f"{__file__}:{hold.__code__.co_firstlineno} .*holder"):
            enter_and_leave()
        refused.set()
        holding.result(SECONDS)
    assert enter_and_leave() == stream(3, 2)


def test_a_scope_that_is_not_enabled_meets_no_conflict() -> None:
    def disabled() -> bool:
        with reproducible(seed=3, enabled=False) as run:
            return run.seed is None

    with reproducible(seed=1):
        assert in_thread(disabled)
        assert [draw()] == stream(1, 1)


@pytest.mark.parametrize("enter", [enter_in_turn, two_draws_in_turn])
def test_a_second_thread_that_waits_goes_on_when_the_first_has_left(enter: Callable[[], list[Draw]]) -> None:
    with ThreadPoolExecutor(1) as pool:
        with reproducible(seed=1):
            waiting = pool.submit(enter)
            time.sleep(0.05)
            assert not waiting.done()
            assert [draw(), draw()] == stream(1, 2)
        assert waiting.result(SECONDS) == stream(3, 2)


def test_many_waiting_threads_each_draw_their_own_stream() -> None:
    def run(seed: int) -> list[Draw]:
        with reproducible(seed=seed, on_conflict="wait"):
            drawn = [draw()]
            time.sleep(0.001)  # lets the others come
            return [*drawn, draw()]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(24), timeout=SECONDS)) == [stream(seed, 2) for seed in range(24)]


def test_decorated_functions_run_one_after_the_other_on_the_threads_of_an_executor() -> None:
    both = threading.Barrier(2)

    def with_the_name() -> tuple[int, list[Draw]]:
        return threading.get_ident(), two_draws()

    with ThreadPoolExecutor(2) as pool:
        for started in [pool.submit(both.wait, SECONDS) for _ in range(2)]:  # so that there are two threads
            started.result(SECONDS)
        results = [pool.submit(with_the_name).result(SECONDS) for _ in range(20)]
    assert [drawn for _, drawn in results] == [stream(3, 2)] * 20


def test_decorated_functions_at_the_same_time_are_refused_but_for_one_and_succeed_afterwards() -> None:
    holds, go_on = threading.Event(), threading.Event()

    @reproducible(seed=5)
    def job(first: bool) -> list[Draw]:
        if first:
            holds.set()
            assert go_on.wait(SECONDS)
        return [draw()]

    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(job, True)
        assert holds.wait(SECONDS)
        for late in [pool.submit(job, False) for _ in range(2)]:
            with pytest.raises(ScopeConflictError):
                late.result(SECONDS)
        go_on.set()
        assert running.result(SECONDS) == stream(5, 1)
        assert pool.submit(job, False).result(SECONDS) == stream(5, 1)


def test_decorated_functions_at_the_same_time_queue_when_asked_to() -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(two_draws_in_turn) for _ in range(16)]
        assert [job.result(SECONDS) for job in jobs] == [stream(3, 2)] * 16


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_waiting_for_another_thread_can_be_interrupted() -> None:
    def interrupt() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with another_thread_in_a_scope(), ThreadPoolExecutor(1) as pool:
        interrupting = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            enter_in_turn()
        interrupting.result(SECONDS)
    assert enter_in_turn() == stream(3, 2)


def test_a_main_thread_that_was_refused_has_its_interrupt_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with another_thread_in_a_scope():
        with pytest.raises(ScopeConflictError):
            enter_and_leave()
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before
