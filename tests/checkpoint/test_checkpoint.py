"""A training that goes on where it was interrupted."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deterministic import Checkpoint, fingerprint, make_loader, reproducible, verify
from deterministic.checkpoint.directory import saved_steps
from deterministic.errors import CheckpointError, NondeterminismWarning, ResumeMismatchError

from .trainings import Interrupted, Noisy, Training, stop_at, trained


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


def test_an_evaluation_within_the_epoch_and_one_that_was_left_by_a_break_change_nothing(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        with reproducible(seed=5):
            validation = make_loader(Noisy(), batch_size=3, shuffle=True)  # type: ignore[arg-type]
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


def test_gradients_of_an_accumulation_are_kept(tmp_path: Path) -> None:
    def run(directory: Path, stop: int) -> str | None:
        with reproducible(seed=5):
            training = Training(directory, every=1)
            try:
                for _ in training.checkpoint.epochs(2):
                    for batch in training.loader:
                        training.model(batch).square().mean().backward()
                        if training.checkpoint.steps % 3 == 2:
                            training.optimizer.step()
                            training.optimizer.zero_grad()
                        training.checkpoint.step()
                        stop_at(stop)(training.checkpoint.steps)
            except Interrupted:
                return None
            finally:
                training.checkpoint.close()
            return training.end()

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
    assert f"resumed at step 8 from {tmp_path}" in caplog.text
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


@pytest.mark.parametrize(("keep", "keep_every", "left"), [(2, None, [10, 12]), (1, 4, [4, 8, 12]), (None, None, 6)])
def test_the_last_checkpoints_are_kept(keep: int | None, keep_every: int | None, left: Any, tmp_path: Path) -> None:
    trained(tmp_path, keep=keep, keep_every=keep_every)
    found = saved_steps(tmp_path)
    assert found == left or len(found) == left


def test_every_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("deterministic.checkpoint.checkpoint.time.monotonic", lambda: clock[0])

    def tick(steps: int) -> None:
        clock[0] += 1.0

    with reproducible(seed=5):
        training = Training(tmp_path, every=None, every_seconds=2.5, keep=None)
        list(training.epochs(3, tick))
        training.checkpoint.close()
    assert saved_steps(tmp_path) == [4, 7, 10, 12]


def test_a_damaged_one_is_refused_and_the_previous_one_is_taken_if_asked_for(
    tmp_path: Path, uninterrupted: str, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tmp_path, stop=7)
    *_, last = sorted(tmp_path.glob("step-*"))
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged") as raised:
        trained(tmp_path)
    assert 'on_damage="previous"' in str(raised.value)
    assert trained(tmp_path, on_damage="previous") == uninterrupted
    assert "passed over" in caplog.text


def test_where_all_are_damaged_that_is_said(tmp_path: Path) -> None:
    trained(tmp_path, stop=7)
    for file in tmp_path.glob("step-*"):
        file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        trained(tmp_path, on_damage="previous")


def test_other_conditions_are_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    trained(tmp_path, stop=7)
    with reproducible(seed=6, deterministic="cudnn"):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
        before = fingerprint(model.state_dict())
        parts: dict[str, Any] = {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), 0.05)}
        parts["loader"] = make_loader(Noisy(), batch_size=3, shuffle=True, seed=5)  # type: ignore[arg-type]
        with pytest.raises(ResumeMismatchError) as raised:
            Checkpoint(tmp_path, **parts)
        assert "seed: saved 5, here 6" in str(raised.value)
        assert "settings.torch.deterministic_algorithms.enabled: saved True, here False" in str(raised.value)
        assert fingerprint(model.state_dict()) == before
        with pytest.warns(NondeterminismWarning, match="seed: saved 5, here 6"):
            checkpoint = Checkpoint(tmp_path, on_mismatch="warn", **parts)
        assert checkpoint.steps == 6
        checkpoint.close()


def test_resume_says_whether_there_may_be_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        trained(tmp_path, resume="must")
    trained(tmp_path, resume="never", stop=4)
    with pytest.raises(CheckpointError, match="checkpoints up to step 4"):
        trained(tmp_path, resume="never")
    assert trained(tmp_path, resume="must") is not None


def test_the_last_one_made_in_a_process_has_the_directory(tmp_path: Path) -> None:
    with reproducible(seed=5):
        first, second = (Training(tmp_path) for _ in range(2))
        with pytest.raises(CheckpointError, match="another Checkpoint took the directory over"):
            list(first.epochs(1))
        assert list(second.epochs(1)) == [0]
        second.checkpoint.close()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"every": 0}, ValueError),
        ({"every": 1.5}, ValueError),
        ({"every_seconds": 0}, ValueError),
        ({"keep": 0}, ValueError),
        ({"keep_every": -1}, ValueError),
        ({"on_mismatch": "ignore"}, ValueError),
        ({"on_damage": "ignore"}, ValueError),
        ({"resume": "maybe"}, ValueError),
        ({"best": 0.5}, TypeError),
        ({"generator": torch.Generator()}, TypeError),
        ({"plain": torch.utils.data.DataLoader([1])}, TypeError),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(
    given: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error, match=next(iter(given))):
        Checkpoint(tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("count", [-1, 1.5, "3"])
def test_bad_numbers_of_epochs_are_refused(count: Any, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(ValueError, match="count= is out of range"):
        next(checkpoint.epochs(count))
    checkpoint.close()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be the directory"):
        Checkpoint(tmp_path / "file")


def test_under_verify_each_run_has_a_fresh_directory(tmp_path: Path) -> None:
    directory = tmp_path / "mine"
    trained(directory, stop=5)
    before = {path: os.stat(path).st_mtime_ns for path in directory.iterdir()}
    report = verify(lambda: trained(directory), runs=2)
    assert report.outcome == "same", report
    assert report.steps == 12
    assert {path: os.stat(path).st_mtime_ns for path in directory.iterdir()} == before
