from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from deterministic.verification import trials
from deterministic.verification.trials import HIGHEST, RESIDENT, peak_of

MIB = 2**20

needs_linux = pytest.mark.skipif(not trials._CLEAR.exists(), reason="the peak can be reset on Linux alone")


@needs_linux
def test_the_peak_is_that_of_the_run_and_not_that_of_the_process() -> None:
    def large() -> None:
        torch.ones(64 * MIB // 4)

    for _ in range(2):  # these find a process that has held as much before
        peak = peak_of(large)
        assert peak.how == RESIDENT
        assert peak.host is not None
        assert 60 * MIB < peak.host < 100 * MIB
        assert peak.cuda is None
    small = peak_of(lambda: None).host
    assert small is not None
    assert small < 20 * MIB


@needs_linux
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives freed memory back by itself")
def test_what_an_earlier_run_freed_and_the_c_library_kept_is_counted_again() -> None:
    kept: list[torch.Tensor] = []

    def many() -> None:
        blocks = [torch.ones(16_384) for _ in range(800)]
        kept.append(blocks[-1])  # the heap ends here: what is below it stays with the process

    for _ in range(2):
        peak = peak_of(many).host
        assert peak is not None
        assert peak > 40 * MIB


def test_where_the_peak_cannot_be_reset_the_highest_of_the_process_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_CLEAR", tmp_path / "missing" / "clear_refs")
    peak = peak_of(lambda: None)
    assert peak.how == HIGHEST
    assert peak.host is not None
    assert peak.host < 20 * MIB
    monkeypatch.setattr(trials, "getrusage", None)
    assert peak_of(lambda: None).host is None


@pytest.mark.parametrize("was_initialized", [True, False])
def test_the_peaks_of_all_cuda_devices_are_added_also_where_the_run_is_the_first_to_use_them(
    was_initialized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialized, reset = [was_initialized], list[int]()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized[0])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 30 + device)
    peak = peak_of(lambda: initialized.__setitem__(0, True))
    assert peak.cuda == (61 - 20 if was_initialized else 61)
    assert reset == ([0, 1] if was_initialized else [])
