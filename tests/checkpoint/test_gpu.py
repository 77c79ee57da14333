"""Checkpoints of what lives on an accelerator."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from deterministic import Checkpoint, fingerprint, load_checkpoint, make_loader, reproducible, save_checkpoint
from deterministic.checkpoint.tensors import home_of

from .trainings import Interrupted, Noisy, stop_at


@pytest.mark.gpu
def test_a_training_on_the_device_ends_with_the_same_bits(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        with reproducible(seed=5):
            model = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.3), nn.Linear(64, 1)).cuda()
            optimizer = torch.optim.AdamW(model.parameters(), 0.05, fused=True)
            loader = make_loader(Noisy(), batch_size=3, shuffle=True)
            parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "loader": loader}
            checkpoint = Checkpoint(directory, every=2, **parts)
            try:
                for _ in checkpoint.epochs(3):
                    for batch in loader:
                        optimizer.zero_grad()
                        model(batch.cuda()).square().mean().backward()
                        optimizer.step()
                        checkpoint.step()
                        stop_at(stop)(checkpoint.steps)
                    checkpoint.values["drawn"] = torch.rand(2, device="cuda")
            except Interrupted:
                return None
            finally:
                checkpoint.close()
            states = [model.state_dict(), optimizer.state_dict(), checkpoint.values]
            return fingerprint([*states, torch.rand(2, device="cuda")])

    whole = run(tmp_path / "whole", -1)
    for stop in (3, 6, 9):
        assert run(tmp_path / f"cut{stop}", stop) is None
        assert run(tmp_path / f"cut{stop}", -1) == whole


@pytest.mark.gpu
def test_values_come_back_to_the_device_that_they_were_on(tmp_path: Path) -> None:
    value = torch.randn(5, generator=torch.Generator().manual_seed(0)).cuda()
    with reproducible(seed=1):
        save_checkpoint(tmp_path / "a", value=[value, value.view(5, 1)])
        one, other = load_checkpoint(tmp_path / "a", value=None)["value"]
    assert one.device == value.device
    assert torch.equal(one, value)
    assert one.data_ptr() == other.data_ptr()


@pytest.mark.parametrize(
    ("saved", "several", "expected"),
    [
        ("cpu", False, "cpu"),
        ("cuda:1", False, "cuda:1"),
        ("cuda:7", False, "cuda:0"),  # there are two here
        ("cuda:1", True, "cuda:0"),  # rank 0 wrote it, and this rank has another one
        ("mps", False, "cpu"),
        ("xpu:0", False, "cpu"),
    ],
)
def test_where_a_tensor_is_put(saved: str, several: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(
        is_available=lambda: True,
        current_accelerator=lambda: torch.device("cuda"),
        device_count=lambda: 2,
        current_device_index=lambda: 0,
    )
    monkeypatch.setattr(torch, "accelerator", fake)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: several)
    assert str(home_of(torch.device(saved))) == expected
