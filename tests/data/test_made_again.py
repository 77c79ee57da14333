"""A loader that is made in the epoch loop: what is warned of, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    Dataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from deterministic import make_loader, reproducible, seed_everything, verify
from deterministic.errors import RepeatedDrawsWarning

from ..ids import without_address

SAMPLES = torch.arange(8)


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    with reproducible(seed=3):
        yield


def epoch_of(dataset: Any = SAMPLES, set_epoch: int | None = None, **arguments: Any) -> list[Any]:
    """Make a loader and iterate it once, as code does that makes its DataLoader in a function for one epoch."""
    loader = make_loader(dataset, batch_size=4, **arguments)
    if set_epoch is not None:
        loader.set_epoch(set_epoch)
    return [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in loader]


@pytest.mark.parametrize(
    "arguments",
    [
        {"shuffle": True},
        {"shuffle": True, "seed": 7},
        {"shuffle": "blocks", "block_size": 2},
        {"sampler": RandomSampler(range(8))},
    ],
    ids=without_address,
)
def test_a_loader_made_in_each_epoch_is_warned_of_once(arguments: dict[str, Any]) -> None:
    first = epoch_of(**arguments)
    with pytest.warns(RepeatedDrawsWarning, match=r"epoch 0\nMake it once, before the loop") as warned:
        again = epoch_of(**arguments)
    assert first == again
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert f"made at: {__file__}:{epoch_of.__code__.co_firstlineno + 2}," in str(warned[0].message)
    epoch_of(**arguments)


class Files(Dataset[str]):
    def __init__(self, folder: str) -> None:
        self.names = [f"{folder}/{number}" for number in range(8)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]


@pytest.mark.parametrize(
    "make",
    [
        lambda: [1, 2, 3],
        lambda: TensorDataset(SAMPLES, SAMPLES),
        lambda: SAMPLES[:6],
        lambda: np.arange(6),
        lambda: Files("train"),
        lambda: Subset(Files("train"), [1, 3, 5]),
    ],
    ids=["list", "tensors", "slice", "array", "files", "subset"],
)
def test_so_is_one_whose_data_are_made_again_from_the_same(make: Callable[[], Any]) -> None:
    epoch_of(make(), shuffle=True)
    with pytest.warns(RepeatedDrawsWarning):
        epoch_of(make(), shuffle=True)


def in_order() -> None:
    epoch_of(), epoch_of()  # an evaluation


def other_epochs() -> None:
    for epoch in range(3):
        epoch_of(shuffle=True, set_epoch=epoch)


def the_same_epoch_on_purpose() -> None:
    for _ in range(3):
        epoch_of(shuffle=True, set_epoch=0)


def other_arguments() -> None:
    epoch_of(shuffle=True, seed=1), epoch_of(shuffle=True, seed=2)
    epoch_of(shuffle=True, drop_last=True), epoch_of(shuffle=True)


def other_data() -> None:
    for fold in range(4):
        epoch_of(Subset(range(8), [fold, fold + 1]), shuffle=True)  # type: ignore[arg-type]
        epoch_of([fold] * 3, shuffle=True)
        epoch_of(TensorDataset(SAMPLES + fold), shuffle=True)
        epoch_of(Files(f"fold {fold}"), shuffle=True)
        epoch_of(sampler=SubsetRandomSampler([fold, fold + 1]))
        epoch_of(sampler=WeightedRandomSampler([1.0 + fold] * 8, 8))


def trials_that_seed_anew() -> None:
    for _ in range(3):
        seed_everything(42)
        epoch_of(shuffle=True)


def several_trainings() -> None:
    for _ in range(3):
        loader = make_loader(SAMPLES, shuffle=True)
        for _ in range(2):
            list(loader)


def resumed() -> None:
    state: dict[str, Any] = {}
    for _ in range(2):
        loader = make_loader(SAMPLES, shuffle=True)
        if state:
            loader.load_state_dict(state)
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()


def a_preview() -> None:
    for _ in range(3):
        next(iter(make_loader(SAMPLES, shuffle=True)))


def only_looked_at() -> None:
    for _ in range(3):
        loader = make_loader(SAMPLES, shuffle=True)
        loader.peek()
        loader.check()


def scopes_of_their_own() -> None:
    for _ in range(2):
        with reproducible(seed=3):
            epoch_of(shuffle=True)
    assert verify(lambda: epoch_of(shuffle=True), runs=2).outcome == "same"


def without_a_seed() -> None:
    with reproducible(seed=None):
        epoch_of(shuffle=True), epoch_of(shuffle=True)


@pytest.mark.parametrize(
    "loop",
    [
        *(in_order, other_epochs, the_same_epoch_on_purpose, other_arguments, other_data, several_trainings),
        *(resumed, only_looked_at, a_preview, scopes_of_their_own, without_a_seed, trials_that_seed_anew),
    ],
)
def test_what_is_no_mistake_is_not_warned_of(loop: Callable[[], None]) -> None:
    loop()  # warnings are errors here


def test_loaders_of_one_line_are_one_row_of_the_report() -> None:
    with reproducible(seed=3) as run:
        for epoch in range(20):
            epoch_of(shuffle=True, set_epoch=epoch // 19)
        epoch_of(shuffle=True, seed=4)
    many, other = run.report().data["loaders"]
    assert (many["loaders"], other["loaders"]) == (20, 1)
    line = epoch_of.__code__.co_firstlineno + 2
    text = str(run.report())
    assert f"  {__file__}:{line}: 20 loaders, seed 3, 'sample', shuffled, num_workers=0\n" in text
    assert "\n    epoch 0, 19 times: 2 batches; epoch 1: 2 batches\n" in text
    assert f"  {__file__}:{line}: seed 4, 'sample'" in text
