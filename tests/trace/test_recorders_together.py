"""Recorders beside scopes, other modes, forks and each other; what they keep, and what is raised in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from deterministic import reproducible
from deterministic.trace.recording.kept import Kept
from deterministic.trace.recording.recorder import Recorder
from deterministic.trace.recording.seeding import ACTIVE
from deterministic.values.hashes import read

from .recorded import Memory, recorded, state_of_process

pytestmark = pytest.mark.usefixtures("apart")


def test_recordings_within_each_other_are_both_right() -> None:
    x = torch.ones(3)

    def inner() -> Any:
        return recorded(lambda: x.add(1).sin(), "ops+inputs")

    def body() -> Any:
        x.cos()
        found = inner()
        x.tan()
        return found

    for level in ("values", "modules", "ops", "ops+inputs"):
        outer = recorded(body, level)
        assert outer.result.names() == ["aten.add.Tensor", "aten.sin.default"]
        expected = ["cos", "add", "sin", "tan"] if level.startswith("ops") else []
        assert [name.split(".")[1] for name in outer.names()] == expected


def test_a_recording_and_a_scope_can_be_in_each_other() -> None:
    def body() -> Any:
        with reproducible(seed=1):
            return recorded(lambda: torch.rand(2)).hashes()

    def other_way() -> Any:
        def scoped() -> None:
            with reproducible(seed=1):
                torch.rand(2)

        return recorded(scoped).hashes()

    assert body() == body() == other_way()


class Seeing(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def test_a_mode_of_the_user_s_works_beside_it_in_any_order() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)

    def step() -> None:
        parameter.sin().sum().backward()
        optimizer.step()

    def body() -> None:
        step()
        with Seeing() as mode:  # the window opens and closes within it
            step()
            step()
        assert mode.seen.count("aten.sin.default") == 2
        step()

    with Seeing() as outer:
        found = recorded(body, segment=1)
        assert outer.seen.count("aten.sin.default") == 4
        assert _python_dispatch._get_current_dispatch_mode_stack() == [outer]
    assert [step.number for step, entries in found.steps if any(e.site.kind == "operation" for e in entries)] == [1]
    assert not _python_dispatch._get_current_dispatch_mode_stack()


def test_a_window_that_ends_within_the_backward_pass_is_closed_for_good() -> None:
    model = nn.Linear(2, 2)
    for parameter in model.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        parameter.register_post_accumulate_grad_hook(lambda p, optimizer=optimizer: optimizer.step())
    found = recorded(lambda: [model(torch.ones(1, 2)).sum().backward() for _ in range(3)], segment=1)
    assert {step for step, entries in found.steps if any(e.site.kind == "operation" for e in entries)} == {
        found.steps[1][0]
    }
    assert not _python_dispatch._get_current_dispatch_mode_stack()


def test_a_value_is_kept_of_the_record_that_was_asked_for() -> None:
    x = torch.ones(3)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)

    def body() -> None:
        x.add_(1)
        optimizer.step()
        x.mul_(3)
        optimizer.step()

    whole = recorded(body, "ops+inputs", segment=1)
    records = [entry.site.name for entry in whole.steps[1][1]]
    x.fill_(1)
    for value, expected in ((0, 2.0), (2, 6.0)):
        x.fill_(1)
        kept = Kept((records.index("aten.mul_.Tensor"), value))
        recorded(body, "ops+inputs", segment=1, kept=kept)
        ((_, elements),) = kept
        assert elements.bits.view("float32").ravel().tolist() == [expected] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_records_nothing() -> None:
    def in_child(work: Callable[[], bool]) -> bool:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(writing, b"1" if work() else b"0")
            os._exit(0)
        os.waitpid(pid, 0)
        answer = os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        return answer == b"1"

    before = state_of_process()[:-1]
    recorder = Recorder(Memory(), "ops+inputs")

    def child() -> bool:
        torch.ones(2).sin()
        recorder.stop()
        return not ACTIVE and state_of_process()[:-1] == before and len(recorder._log) == 0

    recorder.start()
    try:
        assert in_child(child)
        assert recorder in ACTIVE
        torch.ones(2).sin()
        assert len(recorder._log) > 0
    finally:
        recorder.stop()


def test_what_on_step_raises_comes_out_of_the_step_and_nothing_is_left() -> None:
    before = state_of_process()[:-1]

    class Enough(BaseException):
        pass

    def enough(steps: int) -> None:
        if steps == 2:
            raise Enough

    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    recorder = Recorder(Memory(), "ops", on_step=enough)
    recorder.start()
    try:
        optimizer.step()
        with pytest.raises(Enough):
            optimizer.step()
    finally:
        recorder.stop()
    assert state_of_process()[:-1] == before


def test_a_hash_is_of_what_was_there_at_the_time() -> None:
    x = torch.zeros(3)
    found = recorded(lambda: [x.add_(1) for _ in range(3)], "ops+inputs")
    written = [entry.hashes[-1] for entry in found.named("add_")]
    assert written == [read(torch.full((3,), float(n)))[1] for n in (1, 2, 3)]
    assert [entry.hashes[0] for entry in found.named("add_")][1:] == written[:-1]
