"""What a `Checkpoint` takes for a loader, and what for an object with a state."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler

from deterministic import Checkpoint, reproducible
from deterministic.checkpoint.loops import is_loader


class Kept:
    """Can be iterated, and has a state."""

    def __init__(self) -> None:
        self.items: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)

    def state_dict(self) -> dict[str, Any]:
        return {"items": list(self.items)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.items = list(state["items"])


class KeptSampler(Kept, Sampler[int]):
    """A sampler."""


class KeptStream(Kept, IterableDataset[int]):
    """A stream that knows how many workers share it, as litdata's."""

    num_workers = 1


class KeptMapping(Kept):
    """A replay buffer that knows the size of its batches, as torchrl's."""

    batch_size = 2
    dataset = ()


class OwnLoader(Kept):
    """A loader of somebody's own, which goes on where it was."""

    num_workers = 0

    def __init__(self) -> None:
        super().__init__()
        self.at = 0

    def __iter__(self) -> Iterator[int]:
        while self.at < 3:
            self.at += 1
            yield self.at
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


@pytest.mark.parametrize("kind", [Kept, KeptSampler, KeptStream, KeptMapping])
def test_what_can_be_iterated_is_no_loader_and_its_epochs_come_once(kind: type[Kept], tmp_path: Path) -> None:
    def run(directory: Path, stop: int | None = None) -> list[int] | None:
        with reproducible(seed=0):
            kept = kind()
            checkpoint = Checkpoint(directory, every=1, kept=kept)
            try:
                for epoch in checkpoint.epochs(4):
                    kept.items.append(10 * epoch + int(torch.randint(10, ())))
                    checkpoint.step()
                    if checkpoint.steps == stop:
                        return None
                return kept.items
            finally:
                checkpoint.close()

    whole = run(tmp_path / "whole")
    for stop in (1, 2, 3):
        run(tmp_path / f"cut {stop}", stop)
        assert run(tmp_path / f"cut {stop}") == whole
    assert not is_loader(kind())


def test_a_loader_of_somebodys_own_is_saved_within_an_epoch(tmp_path: Path) -> None:
    def run(stop: int | None = None) -> list[int]:
        seen = []
        with reproducible(seed=0):
            loader = OwnLoader()
            checkpoint = Checkpoint(tmp_path, every=1, loader=loader)
            try:
                for _ in checkpoint.epochs(2):
                    for batch in loader:
                        seen.append(batch)
                        checkpoint.step()
                        if checkpoint.steps == stop:
                            return seen
                return seen
            finally:
                checkpoint.close()

    assert run(stop=4) + run() == [1, 2, 3, 1, 2, 3]


def test_torchs_loaders_and_torchdatas_are_loaders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_loader(DataLoader([1]))  # type: ignore[arg-type]
    assert is_loader(OwnLoader())
    monkeypatch.delitem(sys.modules, "torchdata.nodes", raising=False)
    assert not is_loader(Kept())
    monkeypatch.setitem(sys.modules, "torchdata.nodes", SimpleNamespace(Loader=Kept))
    assert is_loader(Kept())
    assert not is_loader(torch.nn.Sequential())
