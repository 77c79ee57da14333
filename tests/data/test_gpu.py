"""What only a GPU can show: pinned batches, and a loader under another default device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .datasets import Draws, Stream, epochs, loader

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dataset", [Draws(), Stream()], ids=["indices", "stream"])
@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_batches_have_the_same_bits(dataset: Any, workers: int) -> None:
    expected = epochs(loader(dataset, num_workers=workers))
    pinned = loader(dataset, num_workers=workers, pin_memory=True)
    assert next(iter(pinned)).is_pinned()
    pinned.set_epoch(0)
    assert epochs(pinned) == expected


class OnDefaultDevice(Draws):
    def __getitem__(self, index: int) -> torch.Tensor:
        return super().__getitem__(index).to("cpu")


@pytest.mark.parametrize("arguments", [{}, {"num_workers": 1, "multiprocessing_context": "spawn"}], ids=str)
def test_another_default_device_is_no_obstacle(arguments: dict[str, Any]) -> None:
    # pytorch/pytorch#44714: there a plain DataLoader with a generator on the CPU raises.
    expected = epochs(loader())
    with torch.device("cuda"):
        assert epochs(loader(OnDefaultDevice(), **arguments)) == expected
