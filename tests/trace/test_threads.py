"""What other threads compute is not recorded; what they wrote is named."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from deterministic.trace.recording.torch_internals import works_for

from .recorded import line_of, recorded

pytestmark = pytest.mark.usefixtures("apart")


def in_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_the_operations_of_a_thread_are_no_records_and_its_writes_are_named_once() -> None:
    x, parameter = torch.zeros(2), torch.nn.Parameter(torch.zeros(2))

    def work() -> None:
        x.add_(1)
        torch._foreach_add_([parameter.detach()], 1.0)  # the write

    def body() -> None:
        in_thread(work)
        parameter.sin()
        parameter.cos()

    found = recorded(body)
    assert found.names() == ["aten.sin.default", "aten.cos.default"]
    (origin,) = found.one("sin").origins()
    assert origin == f"thread tests/trace/test_threads.py:{line_of(work, 'the write')}"
    assert found.one("cos").origins() == []


def test_a_parameter_that_a_thread_steps_is_named() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    parameter.grad = torch.ones(2)

    def body() -> None:
        parameter.exp()
        in_thread(optimizer.step)
        parameter.sin()

    assert recorded(body).one("sin").origins() == ["thread"]  # no line of the user's is in that thread


def test_a_thread_that_outlives_the_recording_goes_on_and_keeps_nothing_of_it() -> None:
    work: queue.Queue[Callable[[], Any] | None] = queue.Queue()
    done: queue.Queue[Any] = queue.Queue()

    def serve() -> None:
        while (job := work.get()) is not None:
            done.put(job())

    threads: list[threading.Thread] = []

    def body() -> None:
        threads.append(threading.Thread(target=serve))
        threads[0].start()
        work.put(lambda: torch.ones(2).add(1).tolist())
        assert done.get(timeout=60) == [2.0, 2.0]

    found = recorded(body)
    work.put(lambda: torch.ones(2).mul(3).tolist())
    assert done.get(timeout=60) == [3.0, 3.0]
    assert len(found.recorder._storages) == 0
    work.put(None)
    threads[0].join()


def test_the_profiler_of_threads_is_what_it_was() -> None:
    seen: list[str] = []

    def profile(frame: Any, event: str, argument: Any) -> None:
        seen.append(frame.f_code.co_name)

    def work() -> None:
        assert sys.getprofile() is profile

    for before in (None, profile):
        threading.setprofile(before)
        try:
            recorded(partial(in_thread, work if before else int))
            recorded(lambda: recorded(lambda: in_thread(lambda: None)))
            assert threading.getprofile() is before
        finally:
            threading.setprofile(None)
    assert "work" in seen


def test_a_profiler_that_is_set_meanwhile_stays() -> None:
    def profile(frame: Any, event: str, argument: Any) -> None:
        pass

    recorded(lambda: threading.setprofile(profile))
    assert threading.getprofile() is profile
    threading.setprofile(None)


def test_no_thread_says_that_it_is_in_a_dispatch_mode() -> None:
    from torch.utils import _python_dispatch

    before = _python_dispatch._is_in_torch_dispatch_mode
    recorded(lambda: in_thread(lambda: torch.ones(1)))
    assert _python_dispatch._is_in_torch_dispatch_mode is before


def test_a_thread_of_python_s_does_not_work_for_another() -> None:
    main, found = threading.get_ident(), []

    def backward() -> None:
        x = torch.ones(1, requires_grad=True)
        x.register_hook(lambda gradient: found.append(works_for(main)))
        x.backward()

    backward()
    in_thread(backward)
    in_thread(lambda: found.append(works_for(main)))
    assert found == [True, False, False]
    assert works_for(main)


def test_a_loader_with_threads_and_processes_is_recorded_the_same_each_time() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(6.0))

    def body() -> float:
        loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, shuffle=False)
        return sum(float(batch.sum()) for (batch,) in loader)

    torch.default_generator.manual_seed(0)
    first = recorded(body)
    torch.default_generator.manual_seed(0)
    second = recorded(body)
    assert first.result == 15.0
    assert first.hashes() == second.hashes()
    assert first.named("sum")
