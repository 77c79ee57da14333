"""`TrainerLoader` over a sampler that remembers: Trainer saves nothing of it, so it gives its earlier indices again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, Dataset, RandomSampler, Sampler, WeightedRandomSampler

from deterministic import fingerprint, make_loader, reproducible
from deterministic.integrations.transformers import TrainerLoader, hf_kwargs

transformers: Any = pytest.importorskip("transformers")


class Named(Dataset[Any]):
    """What the model takes by name, with noise."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.rand(3) + index}


class Model(torch.nn.Module):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.given: list[str] = []

    def forward(self, x: torch.Tensor) -> Any:
        self.given.append(fingerprint(x))
        return {"loss": self.layer(x).square().mean()}


class Remembers(Sampler[int]):
    """Shuffles in place, from epoch to epoch."""

    def __init__(self) -> None:
        self.indices = list(range(8))

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Iterator[int]:
        random.shuffle(self.indices)
        return iter(list(self.indices))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


SAMPLERS: dict[str, Callable[[], dict[str, Any]]] = {
    "with a generator": lambda: {"sampler": WeightedRandomSampler([1.0] * 8, 8, generator=seeded()), "batch_size": 3},
    "of batches": lambda: {
        "batch_sampler": BatchSampler(RandomSampler(range(8), generator=seeded()), 3, drop_last=True)
    },
    "that remembers": lambda: {"sampler": Remembers(), "batch_size": 3},
    "with the global generator": lambda: {"sampler": RandomSampler(range(8)), "batch_size": 3},
}


def train(name: str, folder: Path, start: Path | None = None) -> tuple[list[str], str]:
    class Ours(transformers.Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return TrainerLoader(make_loader(Named(), **SAMPLERS[name]()))

    with reproducible(seed=4):
        model = Model()
        says_little: dict[str, Any] = {"report_to": [], "disable_tqdm": True, "logging_strategy": "no", "use_cpu": True}
        settings = {"num_train_epochs": 3, "save_steps": 1, **says_little, **hf_kwargs()}
        arguments = transformers.TrainingArguments(str(folder), **settings)
        Ours(model, arguments, train_dataset=Named()).train(
            resume_from_checkpoint=None if start is None else str(start)
        )
        return model.given, fingerprint(model.layer)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_resume_in_a_later_epoch_goes_on_with_that_epochs_order(name: str, tmp_path: Path) -> None:
    given, end = train(name, tmp_path / "whole")
    checkpoints = sorted((tmp_path / "whole").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    assert len(checkpoints) > 5
    for path in checkpoints[1:-1:2]:
        rest, ending = train(name, tmp_path / "rest", path)
        assert (rest, ending) == (given[-len(rest) :], end), path
