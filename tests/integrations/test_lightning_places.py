"""`ExactResume` and orders that Lightning tells no epoch: samplers, streams; and loaders that it makes again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import BatchSampler, IterableDataset, RandomSampler, WeightedRandomSampler

from deterministic import fingerprint, make_loader, reproducible
from deterministic.errors import DeterministicError, ReplayWarning, ResumeMismatchError
from deterministic.integrations.lightning import ExactResume

from .children import Augmented
from .lightning_training import trainer_with

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),  # Lightning's own code
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You requested to overfit"),
    pytest.mark.filterwarnings("ignore:Your `val_dataloader`.s sampler has shuffling"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined"),
    pytest.mark.filterwarnings(f"ignore::{ReplayWarning.__module__}.{ReplayWarning.__name__}"),
]


class Stream(IterableDataset[torch.Tensor]):
    """Eight samples, and no state."""

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Iterator[torch.Tensor]:
        for number in torch.randperm(8).tolist():
            yield torch.rand(4) + number


def loader(dataset: Any = None, **arguments: Any) -> Any:
    return make_loader(dataset or Augmented(8), batch_size=3, **arguments)


def drawn() -> Any:
    return RandomSampler(range(8))


def own() -> Any:
    return WeightedRandomSampler([1.0] * 8, 8, generator=torch.Generator().manual_seed(1))


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        return loader(shuffle=True)

    def val_dataloader(self) -> Any:
        return loader(shuffle=True)


def shuffled() -> Any:
    return loader(shuffle=True)


CASES: dict[str, tuple[Callable[[], tuple[Any, ...]], dict[str, Any]]] = {
    "sampler": (lambda: (loader(sampler=drawn()), loader(sampler=drawn())), {}),
    "sampler with a generator": (lambda: (loader(sampler=own()), loader(sampler=own())), {}),
    "batch sampler": (
        lambda: (make_loader(Augmented(8), batch_sampler=BatchSampler(drawn(), 3, drop_last=True)), shuffled()),
        {},
    ),
    "stream": (lambda: (loader(Stream()), loader(Stream())), {}),
    "several": (lambda: (shuffled(), [shuffled(), loader(sampler=drawn())]), {"limit_val_batches": 1}),
    "limited": (lambda: (loader(sampler=own()), loader(sampler=own())), {"limit_train_batches": 0.7}),
    "seldom": (lambda: (shuffled(), loader(sampler=drawn())), {"check_val_every_n_epoch": 2, "max_epochs": 4}),
    "often": (lambda: (loader(sampler=drawn()), loader(sampler=own())), {"val_check_interval": 2}),
    "by steps": (
        lambda: (shuffled(), loader(sampler=drawn())),
        {"val_check_interval": 2, "check_val_every_n_epoch": None},
    ),
    "overfit": (lambda: (shuffled(), shuffled()), {"overfit_batches": 2}),
    "made again": (lambda: (Data(),), {"reload_dataloaders_every_n_epochs": 1}),
}


class Notes(pl.LightningModule):
    """Notes what it is given, and draws in training."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(), torch.nn.Linear(4, 1))
        self.given: list[tuple[str, int, int, str]] = []

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        self.given.append(("training", self.global_step, number, fingerprint(batch)))
        loss: torch.Tensor = self.model(batch).square().mean()
        return loss

    def validation_step(self, batch: torch.Tensor, number: int, dataloader_idx: int = 0) -> None:
        if not self.trainer.sanity_checking:
            self.given.append(("validation", self.global_step, number, fingerprint(batch)))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 0.01)


class AfterValidation(ModelCheckpoint):
    """Of another class, for Lightning wants to tell them apart."""


def fit(make: Callable[[], tuple[Any, ...]], folder: Path, start: Path | None = None, **arguments: Any) -> Any:
    """Train, saving after each step, each epoch and each validation; return what was given, and what came out."""
    with reproducible(seed=3):
        module = Notes()
        checkpoints = [
            ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1),
            ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True),
            AfterValidation(folder, filename="validated {step}", save_top_k=-1, save_on_train_epoch_end=False),
        ]
        trainer = trainer_with([*checkpoints, ExactResume()], **arguments)
        data = make()
        where = (
            {"datamodule": data[0]} if len(data) == 1 else {"train_dataloaders": data[0], "val_dataloaders": data[1]}
        )
        trainer.fit(module, **where, ckpt_path=start, weights_only=False)
        return module.given, fingerprint(module.model)


@pytest.mark.parametrize("name", CASES)
def test_it_goes_on_from_everywhere_with_the_batches_that_were_due(name: str, tmp_path: Path) -> None:
    make, arguments = CASES[name]
    given, end = fit(make, tmp_path / "whole", **{"max_epochs": 3, **arguments})
    exact, refused = 0, list[str]()
    for path in sorted((tmp_path / "whole").glob("*.ckpt")):
        try:
            rest, ending = fit(make, tmp_path / "rest", path, **{"max_epochs": 3, **arguments})
        except ResumeMismatchError as error:
            refused.append(str(error))
            continue
        exact += 1
        assert ending == end, path
        assert of("training", rest) == of("training", given)[-len(of("training", rest)) or len(given) :], path
        # A validation that was due at the very step of the checkpoint is not made up for.
        assert of("validation", rest) == of("validation", given)[-len(of("validation", rest)) or len(given) :], path
    assert exact > 8
    assert all("just before a validation" in error for error in refused)


def of(kind: str, given: list[tuple[str, int, int, str]]) -> list[tuple[str, int, int, str]]:
    return [one for one in given if one[0] == kind]


def test_a_step_before_a_validation_that_is_left_out_is_refused_where_the_later_ones_depend_on_it(
    tmp_path: Path,
) -> None:
    make, arguments = CASES["sampler"]
    fit(make, tmp_path, max_epochs=2, **arguments)
    with pytest.raises(ResumeMismatchError, match=r"just before a validation[\s\S]*found: a RandomSampler for valid"):
        fit(make, tmp_path / "rest", tmp_path / "step=3.ckpt", max_epochs=2, **arguments)
    fit(lambda: (shuffled(), shuffled()), tmp_path / "told", max_epochs=2)
    fit(lambda: (shuffled(), shuffled()), tmp_path / "rest", tmp_path / "told" / "step=3.ckpt", max_epochs=2)


@pytest.mark.parametrize("limits", [{"max_steps": 8, "max_epochs": -1}, {"max_steps": 100, "max_epochs": 2}], ids=str)
@pytest.mark.parametrize("validation", [shuffled, lambda: None], ids=["validated", "not"])
def test_with_max_steps_a_checkpoint_from_after_an_epoch_is_refused(
    tmp_path: Path, validation: Callable[[], Any], limits: dict[str, Any]
) -> None:
    given, end = fit(lambda: (shuffled(), validation()), tmp_path, **limits)
    with pytest.raises(
        ResumeMismatchError, match=r"skips the next one[\s\S]*max_steps=\d+\n[\s\S]*every_n_train_steps"
    ):
        fit(lambda: (shuffled(), validation()), tmp_path / "rest", tmp_path / "epoch=0.ckpt", **limits)
    rest, ending = fit(lambda: (shuffled(), validation()), tmp_path / "rest", tmp_path / "step=3.ckpt", **limits)
    assert (of("training", rest), ending) == (of("training", given)[3:], end)


@pytest.mark.parametrize("made", [shuffled, lambda: loader(sampler=drawn())], ids=["own order", "sampler"])
def test_a_checkpoint_of_a_training_that_ended_within_an_epoch_is_refused(
    tmp_path: Path, made: Callable[[], Any]
) -> None:
    fit(lambda: (made(), None), tmp_path, max_steps=4, max_epochs=-1)
    with pytest.raises(ResumeMismatchError, match="ended within an epoch"):
        fit(lambda: (made(), None), tmp_path / "rest", tmp_path / "epoch=1.ckpt", max_epochs=4)


def test_another_number_of_loaders_is_refused(tmp_path: Path) -> None:
    fit(lambda: (shuffled(), [loader(sampler=drawn()), shuffled()]), tmp_path, max_epochs=2)
    with pytest.raises(ResumeMismatchError, match=r"another number of loaders[\s\S]*saved: 2\n.*here: 1"):
        fit(lambda: (shuffled(), loader(sampler=drawn())), tmp_path / "rest", tmp_path / "step=4.ckpt", max_epochs=2)


class Sampled(Data):
    def train_dataloader(self) -> Any:
        return loader(sampler=drawn())


class Unsized(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.zeros(8, 4))


REFUSED: dict[str, tuple[Callable[[], tuple[Any, ...]], dict[str, Any], str]] = {
    "made again": (
        lambda: (Sampled(),),
        {"reload_dataloaders_every_n_epochs": 1},
        "a RandomSampler for training, with reload_",
    ),
    "validation without a length": (lambda: (shuffled(), loader(Unsized())), {}, "a loader without a length"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loader_whose_place_cannot_be_kept_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    make, arguments, expected = REFUSED[name]
    with pytest.raises(DeterministicError, match=expected):
        fit(make, tmp_path, max_epochs=1, **arguments)
