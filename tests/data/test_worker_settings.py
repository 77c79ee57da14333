"""Workers have the settings of the process that made them, however they start."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from deterministic import reproducible
from deterministic.data.samples.worker import capture_settings

from .datasets import Draws, loader


class Settings(Draws):
    """Tells the settings in force where samples are made."""

    def __getitem__(self, index: int) -> Any:
        return [
            str(torch.get_default_dtype()),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.get_float32_matmul_precision(),
            str(torch.zeros(()).dtype),
        ]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_have_the_settings_of_the_scope(method: str) -> None:
    with reproducible(3, deterministic="warn"):
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("high")
        expected = next(iter(loader(Settings(), batch_size=1, collate_fn=list)))
        workers: dict[str, Any] = {"num_workers": 1, "multiprocessing_context": method}
        found = next(iter(loader(Settings(), batch_size=1, collate_fn=list, **workers)))
    assert found == expected == [["torch.float64", True, True, True, "high", "torch.float64"]]


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_persistent_workers_get_new_settings_when_they_change(method: str) -> None:
    workers: dict[str, Any] = {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": method}
    iterated = loader(Settings(4), batch_size=4, collate_fn=list, **workers)
    outside = next(iter(iterated))[0]
    with reproducible(3):
        inside = next(iter(iterated))[0]
    assert outside[1] is False
    assert inside[1] is True
    assert next(iter(iterated))[0] == outside


def test_settings_are_captured_as_bytes_and_cover_what_a_scope_covers() -> None:
    assert {"torch.default_dtype", "torch.deterministic_algorithms", "environment"} <= capture_settings().keys()
    assert not capture_settings().keys() & {"python.random", "numpy.random", "torch.cpu", "torch.threads"}
