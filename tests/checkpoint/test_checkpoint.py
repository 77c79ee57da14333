"""A training that goes on where it was interrupted."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from deterministic import Checkpoint, make_loader, reproducible
from deterministic.checkpoint.directory import saved_steps
from deterministic.errors import CheckpointError, ResumeMismatchError

from .trainings import Interrupted, Noisy, Training, stop_at, trained, trained_by


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    end = trained(tmp_path_factory.mktemp("uninterrupted"))
    assert end is not None
    return end


@pytest.mark.parametrize("stop", range(1, 12))
def test_interrupted_after_any_step_it_ends_with_the_same_bits(stop: int, tmp_path: Path, uninterrupted: str) -> None:
    assert trained(tmp_path, stop=stop) is None
    assert trained(tmp_path, draws=stop) == uninterrupted


def test_interrupted_again_and_again(tmp_path: Path, uninterrupted: str) -> None:
    for stop in (2, 3, 5, 5, 9, 11):
        assert trained(tmp_path, stop=stop, draws=stop) is None
    assert trained(tmp_path, draws=3) == uninterrupted


def test_with_another_number_of_workers(tmp_path: Path, uninterrupted: str) -> None:
    trained(tmp_path, stop=7)
    assert trained(tmp_path, workers=2) == uninterrupted


def test_without_the_generators_it_would_not(
    tmp_path: Path, uninterrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path, stop=7)
    monkeypatch.setattr("deterministic.checkpoint.checkpoint.put_back", lambda states, run: None)
    assert trained(tmp_path) != uninterrupted


def test_without_the_loader_s_place_it_would_not(
    tmp_path: Path, uninterrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path, stop=7)
    monkeypatch.setattr("deterministic.data.keyed_loader.ReproducibleDataLoader.load_state_dict", lambda *given: None)
    with pytest.raises(ResumeMismatchError, match=r"after loading .*, loader is not what was saved"):
        trained(tmp_path)


@pytest.mark.parametrize("place", ["in the epoch's first line", "after its last batch", "between two epochs"])
def test_interrupted_elsewhere(place: str, tmp_path: Path) -> None:
    def run(directory: Path, stop: bool) -> str | None:
        with reproducible(seed=5):
            training = Training(directory, every=4)  # with the last batch of each epoch
            try:
                for epoch in training.checkpoint.epochs(3):
                    torch.rand(2)
                    if stop and epoch == 1 and place == "in the epoch's first line":
                        raise Interrupted
                    for batch in training.loader:
                        training.step(batch)
                        training.checkpoint.step()
                    if stop and epoch == 1 and place == "after its last batch":
                        raise Interrupted
                    training.checkpoint.values[f"drawn {epoch}"] = torch.rand(()).item()
                    if stop and epoch == 1 and place == "between two epochs":
                        raise Interrupted
            except Interrupted:
                return None
            finally:
                training.checkpoint.close()
            return training.end()

    assert run(tmp_path / "cut", True) is None
    assert run(tmp_path / "cut", False) == run(tmp_path / "whole", False)


def test_an_epoch_that_was_interrupted_after_its_last_batch_comes_again_without_batches(tmp_path: Path) -> None:
    trained(tmp_path, stop=4)
    with reproducible(seed=5):
        training = Training(tmp_path)
        for epoch in training.checkpoint.epochs(1):
            assert epoch == 0
            assert list(training.loader) == []


@pytest.mark.slow
def test_an_evaluation_within_the_epoch_and_one_that_was_left_by_a_break_change_nothing(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        with reproducible(seed=5):
            validation = make_loader(Noisy(), batch_size=3, shuffle=True)
            training = Training(directory, every=1, more={"validation": validation})
            checkpoint = training.checkpoint
            seen = checkpoint.values.setdefault("seen", [])
            try:
                for epoch in checkpoint.epochs(3):
                    next(iter(validation))  # runs again in the epoch that was interrupted, and costs no epoch then
                    for batch in training.loader:
                        if checkpoint.steps == 3 * (epoch + 1):
                            break  # before a step, not after: what follows step() does not come again
                        training.step(batch)
                        if checkpoint.steps % 3 == 1:
                            seen.extend(batch.tolist() for batch in validation)
                        checkpoint.step()
                        stop_at(stop)(checkpoint.steps)
                    seen.append(torch.rand(()).item())
            except Interrupted:
                return None
            finally:
                checkpoint.close()
            return training.end()

    whole = run(tmp_path / "whole", -1)
    for stop in (1, 2, 4, 5, 6, 8):
        assert run(tmp_path / f"cut{stop}", stop) is None
        assert run(tmp_path / f"cut{stop}", -1) == whole


@pytest.mark.slow
@pytest.mark.parametrize("is_one", [True, False])
def test_two_loops_with_steps_in_one_epoch(is_one: bool, tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        other = make_loader(Noisy(), batch_size=4, shuffle=True, seed=5)

        def epoch(training: Training) -> None:
            for loader in (training.loader, training.loader if is_one else other):
                for batch in loader:
                    training.step(batch)
                    training.checkpoint.step()
                    stop_at(stop)(training.checkpoint.steps)

        return trained_by(epoch, directory, every=1, keep=None, more={"other": other})

    whole = run(tmp_path / "whole", -1)
    length = 8 if is_one else 7
    assert saved_steps(tmp_path / "whole") == [1, 2, 3, 4, length, *range(length + 1, length + 5), 2 * length]
    for stop in (2, 4, 5, 7, 9, 12, 13):
        run(tmp_path / f"cut{stop}", stop)
        assert run(tmp_path / f"cut{stop}", -1) == whole


def test_gradients_of_an_accumulation_are_kept(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        def epoch(training: Training) -> None:
            for batch in training.loader:
                training.model(batch).square().mean().backward()
                if training.checkpoint.steps % 3 == 2:
                    training.optimizer.step()
                    training.optimizer.zero_grad()
                training.checkpoint.step()
                stop_at(stop)(training.checkpoint.steps)

        return trained_by(epoch, directory, every=1)

    whole = run(tmp_path / "whole", -1)
    for stop in (1, 2, 3, 5):
        run(tmp_path / f"cut{stop}", stop)
        assert run(tmp_path / f"cut{stop}", -1) == whole


def test_what_is_complete_yields_nothing_and_more_epochs_go_on(
    tmp_path: Path, uninterrupted: str, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tmp_path, epochs=2)
    caplog.set_level(logging.INFO, "deterministic.checkpoint")
    with reproducible(seed=5):
        training = Training(tmp_path)
        assert list(training.epochs(2)) == []
        training.checkpoint.close()
    assert f"resumed at epoch 2, step 8, from {tmp_path}" in caplog.text
    assert "already complete: 2 epochs, 8 steps" in caplog.text
    assert trained(tmp_path, epochs=3) == uninterrupted


def test_a_save_after_the_last_batch_waits_for_the_end_of_the_epoch(tmp_path: Path) -> None:
    with reproducible(seed=5):
        training = Training(tmp_path, every=None)
        for epoch in training.checkpoint.epochs(2):
            for batch in training.loader:
                training.step(batch)
                training.checkpoint.step()
            if epoch == 0:
                training.checkpoint.save()
                assert saved_steps(tmp_path) == []
            else:
                assert saved_steps(tmp_path) == [4]
        training.checkpoint.close()
    assert saved_steps(tmp_path) == [4, 8]


def test_without_a_loader_it_is_saved_at_the_end_of_the_epoch(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> float | None:
        with reproducible(seed=5):
            model = nn.Linear(2, 2)
            checkpoint = Checkpoint(directory, every=2, model=model)
            try:
                for _ in checkpoint.epochs(3):
                    for _ in range(3):
                        with torch.no_grad():
                            model.weight += torch.rand(2, 2)
                        checkpoint.step()
                        stop_at(stop)(checkpoint.steps)
            except Interrupted:
                return None
            finally:
                checkpoint.close()
            return float(model.weight.detach().sum())

    assert run(tmp_path / "cut", 8) is None
    assert saved_steps(tmp_path / "cut") == [3, 6]
    assert run(tmp_path / "cut", -1) == run(tmp_path / "whole", -1)


def test_outside_of_epochs_and_loops_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    with reproducible(seed=5):
        checkpoint = Checkpoint(tmp_path, every=1, model=nn.Linear(1, 1))
        with pytest.raises(CheckpointError, match=r"no `for epoch in checkpoint\.epochs"):
            checkpoint.step()
        checkpoint.close()


def test_outside_of_a_scope_the_process_s_generators_go_on(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        state = random.getstate()
        torch.default_generator.manual_seed(1)
        random.seed(1)
        model = nn.Linear(1, 1)
        first = Checkpoint(tmp_path, model=model)
        for _ in first.epochs(1):
            pass
        expected = torch.rand(2).tolist(), random.random()
        second = Checkpoint(tmp_path, model=model)
        assert list(second.epochs(1)) == []
        assert (torch.rand(2).tolist(), random.random()) == expected
        second.close()
        random.setstate(state)
