from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deterministic.verification import trials
from deterministic.verification.trials import Profile, profile_of, seconds_of


def event(name: str, device: str, cpu: float, cuda: float) -> Any:
    return SimpleNamespace(
        key=name,
        device_type=SimpleNamespace(name=device),
        self_cpu_time_total=cpu,
        self_device_time_total=cuda,
    )


def profiled(*events: Any, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setattr(
        trials, "_profiler", lambda may_use_cuda: nullcontext(SimpleNamespace(key_averages=lambda: events))
    )
    return profile_of(lambda: None, True)


def test_an_operation_takes_what_it_does_itself_on_the_cpu() -> None:
    found = profile_of(lambda: torch.rand(300, 300) @ torch.rand(300, 300), False)
    assert found.device == "cpu"
    assert {"aten::mm", "aten::uniform_"} <= found.seconds.keys()
    assert 0 < sum(found.seconds.values()) < 10
    assert found.seconds["aten::matmul"] < found.seconds["aten::mm"]


def test_kernels_are_counted_once_at_the_operation_that_launched_them(monkeypatch: pytest.MonkeyPatch) -> None:
    events = (event("aten::mm", "CPU", 5.0, 2e6), event("gemm", "CUDA", 0.0, 2e6), event("aten::t", "CPU", 3.0, 0.0))
    assert profiled(*events, monkeypatch=monkeypatch) == Profile("cuda", {"aten::mm": 2.0})


def test_where_no_device_was_used_the_times_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = profiled(event("aten::mm", "CPU", 5e6, 0.0), monkeypatch=monkeypatch)
    assert found == Profile("cpu", {"aten::mm": 5.0})
    assert profiled(monkeypatch=monkeypatch) == Profile("cpu", {})


def test_what_is_timed_runs_at_the_level() -> None:
    def check() -> None:
        assert torch.are_deterministic_algorithms_enabled()

    assert 0 < seconds_of(check, True) < 1
