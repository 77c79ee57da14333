"""tensordict's samples, and torchrl's replay buffer beside a loader in a `Checkpoint`."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch.utils.data import Dataset

from deterministic import Checkpoint, make_loader, reproducible
from deterministic.testing import check_dataset

_METHOD = multiprocessing.get_start_method(allow_none=True)
from torchrl.data import LazyTensorStorage, ListStorage, ReplayBuffer  # noqa: E402

multiprocessing.set_start_method(_METHOD, force=True)  # importing torchrl makes it "spawn", for the whole process


class Samples(Dataset[Any]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        inside = TensorDict({"noise": torch.rand(2)}, [])
        return TensorDict({"index": torch.tensor(index), "inside": inside}, [])


def test_samples_are_compared_by_what_they_hold() -> None:
    check_dataset(Samples)
    make_loader(Samples(), seed=0, collate_fn=list).check()


def test_a_batch_is_stacked_and_resumed() -> None:
    whole = make_loader(Samples(), batch_size=2, seed=0, shuffle=True, collate_fn=torch.stack)
    iterator = iter(whole)
    next(iterator)
    resumed = make_loader(Samples(), batch_size=2, seed=0, shuffle=True, collate_fn=torch.stack)
    resumed.load_state_dict(whole.state_dict())
    for one, other in zip(iterator, resumed, strict=True):
        assert (one == other).all()


def train(folder: Path, storage: Any, until: int | None = None) -> list[float] | None:
    """Fill a replay buffer and learn from samples of it; return what was learned, or None if killed."""
    with reproducible(seed=0):
        buffer = ReplayBuffer(storage=storage(), batch_size=4)
        model = torch.nn.Linear(3, 1)
        checkpoint = Checkpoint(folder, every=1, model=model, buffer=buffer)
        for _ in checkpoint.epochs(5):
            buffer.extend(TensorDict({"seen": torch.rand(4, 3)}, [4]))
            with torch.no_grad():
                model.weight += buffer.sample()["seen"].sum(0)
            checkpoint.step()
            if checkpoint.steps == until:
                return None
        weights: list[float] = model.weight.flatten().tolist()
        return [*weights, float(len(buffer))]


@pytest.mark.parametrize("storage", [lambda: LazyTensorStorage(50), lambda: ListStorage(50)], ids=["lazy", "list"])
def test_a_replay_buffer_goes_on_where_it_was_killed(storage: Any, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", storage)
    assert whole is not None
    assert whole[-1] == 20
    for until in range(1, 5):
        train(tmp_path / str(until), storage, until)
        assert train(tmp_path / str(until), storage) == whole
