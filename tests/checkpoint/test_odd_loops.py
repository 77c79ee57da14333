"""Trainings that are written in other ways than the pages say: exact all the same, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deterministic import Checkpoint, load_checkpoint, make_loader, reproducible, save_checkpoint
from deterministic.checkpoint.directory import saved_steps
from deterministic.errors import CheckpointError, NondeterminismWarning

from .trainings import Interrupted, Noisy, Training, stop_at, trained, trained_by


def test_batches_that_are_taken_before_the_loop_that_goes_on_are_refused(tmp_path: Path) -> None:
    trained(tmp_path, stop=7)
    with reproducible(seed=5):
        training = Training(tmp_path)
        next(iter(training.loader))
        with pytest.raises(CheckpointError, match=r"Look at a batch with loader\.peek\(\)"):
            list(training.epochs(3))
        training.checkpoint.close()


def test_a_batch_may_be_looked_at_before(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        with reproducible(seed=5):
            training = Training(directory)
            training.loader.peek()
            try:
                list(training.epochs(3, stop_at(stop)))
            except Interrupted:
                return None
            finally:
                training.checkpoint.close()
            return training.end()

    run(tmp_path / "cut", 7)
    assert run(tmp_path / "cut", -1) == run(tmp_path / "whole", -1)


def test_an_iterator_that_was_made_before_the_checkpoint_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, stop=7)
    with reproducible(seed=5):
        model = Training(tmp_path / "other").model
        loader = make_loader(Noisy(), batch_size=3, shuffle=True)
        held = iter(loader)
        optimizer = torch.optim.AdamW(model.parameters(), 0.05)
        with pytest.raises(CheckpointError, match="Make the Checkpoint first"):
            Checkpoint(tmp_path, model=model, optimizer=optimizer, loader=loader)
        next(held)


@pytest.mark.parametrize("stop", [2, 5, 7])
def test_two_phases_with_draws_between_them(stop: int, tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        with reproducible(seed=5):
            training = Training(directory, every=1)
            try:
                for epochs in (1, 2):
                    list(training.epochs(epochs, stop_at(stop)))
                    if epochs == 1:
                        torch.rand(3)
            except Interrupted:
                return None
            finally:
                training.checkpoint.close()
            return training.end()

    run(tmp_path / "cut", stop)
    assert run(tmp_path / "cut", -1) == run(tmp_path / "whole", -1)


def test_a_save_in_the_middle_of_the_body_waits_for_the_step(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        def epoch(training: Training) -> None:
            for batch in training.loader:
                if training.checkpoint.steps == 1:
                    training.checkpoint.save()
                    assert saved_steps(directory) in ([], [2])
                training.step(batch)
                training.checkpoint.step()
                stop_at(stop)(training.checkpoint.steps)

        return trained_by(epoch, directory, every=None)

    run(tmp_path / "cut", 3)
    assert saved_steps(tmp_path / "cut") == [2]
    assert run(tmp_path / "cut", -1) == run(tmp_path / "whole", -1)


def test_inside_of_an_inner_scope_saving_is_refused(tmp_path: Path) -> None:
    with reproducible(seed=5):
        training = Training(tmp_path, every=1)
        for _ in training.checkpoint.epochs(1):
            for batch in training.loader:
                training.step(batch)
                with reproducible(seed=5), pytest.raises(CheckpointError, match="an inner scope"):
                    training.checkpoint.step()
                break
        training.checkpoint.close()


def test_a_damaged_checkpoint_is_never_kept_in_place_of_a_whole_one(tmp_path: Path) -> None:
    trained(tmp_path, stop=9, keep=None)
    *_, last = sorted(tmp_path.glob("step-*"))
    last.write_bytes(b"")
    trained(tmp_path, stop=7, every=1, keep=1, on_damage="previous")
    assert saved_steps(tmp_path) == [7]
    assert trained(tmp_path, keep=1) is not None


def test_a_relative_directory_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with reproducible(seed=5):
        training = Training(Path("mine"))
        monkeypatch.chdir("/")
        list(training.epochs(1))
        training.checkpoint.close()
    assert saved_steps(tmp_path / "mine") == [2, 4]


def test_a_scheduler_that_takes_entries_out_of_its_state(tmp_path: Path) -> None:
    def made() -> dict[str, Any]:
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, step_size_up=3)
        return {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    with reproducible(seed=1):
        first = made()
        first["optimizer"].step()
        first["scheduler"].step()
        save_checkpoint(tmp_path / "a", **first)
        second = made()
        load_checkpoint(tmp_path / "a", **second)
    assert second["scheduler"].get_last_lr() == first["scheduler"].get_last_lr()


def test_what_is_frozen_and_what_does_not_train_stays_so(tmp_path: Path) -> None:
    with reproducible(seed=1):
        first, second = (nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)) for _ in range(2))
        first[0].weight.requires_grad_(False)
        first[1].eval()
        save_checkpoint(tmp_path / "a", model=first)
        load_checkpoint(tmp_path / "a", model=second)
    assert [p.requires_grad for p in second.parameters()] == [False, True, True, True]
    assert [part.training for part in second.modules()] == [True, True, False]


def test_an_array_keeps_its_order(tmp_path: Path) -> None:
    value = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    with reproducible(seed=1):
        save_checkpoint(tmp_path / "a", value=value)
        found = load_checkpoint(tmp_path / "a", value=None)["value"]
    assert found.flags.f_contiguous
    assert np.array_equal(found, value)


def test_parameters_that_nobody_saves_are_told(tmp_path: Path) -> None:
    lost = nn.Parameter(torch.zeros(2))
    with reproducible(seed=1):
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD([*model.parameters(), lost], 0.1)
        with pytest.warns(NondeterminismWarning, match="1 of 3 are in none of the objects"):
            Checkpoint(tmp_path, model=model, optimizer=optimizer).close()
