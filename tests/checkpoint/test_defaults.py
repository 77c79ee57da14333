"""A Checkpoint that was told nothing, a step() that was forgotten, and what is said of saving and resuming."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import Checkpoint, make_loader, reproducible
from deterministic.checkpoint import checkpoint as checkpoint_module
from deterministic.checkpoint import telling
from deterministic.checkpoint.directory import saved_steps
from deterministic.errors import CheckpointError, NondeterminismWarning, ReplayWarning
from deterministic.ground import launch
from deterministic.ground.config import OMITTED
from deterministic.ground.ranks import Ranks
from deterministic.ground.repetition import checkpoints_in

from .trainings import Training, trained


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, in a list, to be put forward."""
    now = [1000.0]
    monkeypatch.setattr("deterministic.checkpoint.checkpoint.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("how", "saved"),
    [
        ({"every": OMITTED}, [4, 6, 8, 12]),
        ({"every": None}, [4, 6, 8, 12]),
        ({"every": OMITTED, "every_seconds": None}, [4, 8, 12]),
        ({"every": 5}, [5, 10, 12]),
        ({"every": 5, "every_seconds": None}, [5, 10, 12]),
        ({"every": None, "every_seconds": 100}, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ({"every": None, "every_seconds": None}, [12]),
    ],
    ids=repr,
)
def test_when_it_is_saved(how: dict[str, Any], saved: list[int], tmp_path: Path, clock: list[float]) -> None:
    def tick(steps: int) -> None:
        clock[0] += 700 if steps == 5 else 100

    with reproducible(seed=5):
        training = Training(tmp_path, keep=None, **how)
        list(training.epochs(3, tick))
        training.checkpoint.close()
    assert saved_steps(tmp_path) == saved


@pytest.mark.forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("has_steps", [True, False])
def test_killed_in_the_last_epoch_a_training_that_was_told_nothing_loses_no_other(
    has_steps: bool, tmp_path: Path
) -> None:
    def train(kill: bool) -> list[int]:
        with reproducible(seed=5):
            model = torch.nn.Linear(1, 1)
            loader = make_loader(torch.randn(10, 1), batch_size=1, shuffle=True)
            checkpoint = Checkpoint(tmp_path, model=model, loader=loader)
            epochs, steps = [], 0
            for epoch in checkpoint.epochs(20):
                epochs.append(epoch)
                for batch in loader:
                    with torch.no_grad():
                        model.weight += batch
                    if has_steps:
                        checkpoint.step()
                    steps += 1
                    if kill and steps == 195:
                        os.kill(os.getpid(), signal.SIGKILL)
        checkpoint.close()
        return epochs

    pid = os.fork()
    if not pid:
        try:
            warnings.simplefilter("ignore")
            train(kill=True)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    if has_steps:
        assert train(kill=False) == [19]
    else:
        with pytest.warns(ReplayWarning):
            assert train(kill=False) == [19]


@pytest.mark.parametrize(
    ("how", "saved"),
    [
        ({"every": OMITTED}, "between two epochs"),
        ({"every": 2}, "at the end of the last epoch"),
        ({"every": None, "every_seconds": 9}, "at the end of the last epoch"),
    ],
    ids=repr,
)
def test_an_epoch_without_a_step_is_warned_of_once(how: dict[str, Any], saved: str, tmp_path: Path) -> None:
    with reproducible(seed=5):
        training = Training(tmp_path, **how)

        def train() -> None:
            for _ in training.checkpoint.epochs(3):
                for batch in training.loader:
                    training.step(batch)

        with pytest.warns(ReplayWarning) as warned:
            train()
        training.checkpoint.close()
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert str(warned[0].message).splitlines()[2:] == [
        f"  saved: only {saved}",
        "Write checkpoint.step() as the last line of the loop over the loader.",
    ]


def test_a_loop_without_epochs_is_warned_of_by_default(tmp_path: Path) -> None:
    def train() -> None:
        for batch in training.loader:
            training.step(batch)
            training.checkpoint.step()

    with reproducible(seed=5):
        training = Training(tmp_path, every=OMITTED)
        with pytest.warns(ReplayWarning, match=r"only every ten minutes\n.*checkpoint\.epochs\(count\)") as warned:
            train()
        training.checkpoint.close()
    assert len(warned) == 1
    assert warned[0].filename == __file__


def passed_over(directory: Path, loader: Any) -> None:
    checkpoint = Checkpoint(directory, model=torch.nn.Linear(1, 1))
    for _ in checkpoint.epochs(2):
        for _ in loader:
            checkpoint.step()
    checkpoint.close()


def test_a_loader_that_gives_batches_and_was_not_passed_is_warned_of_once(tmp_path: Path) -> None:
    with reproducible(seed=5):
        loader = make_loader(torch.arange(8.0), batch_size=2, shuffle=True)
        line = sys._getframe().f_lineno - 1
        with pytest.warns(NondeterminismWarning, match="Pass it: Checkpoint") as warned:
            passed_over(tmp_path, loader)
    assert len(warned) == 1
    assert f"made at: {__file__}:{line}" in str(warned[0].message)


def test_neither_one_that_was_passed_nor_one_that_is_gone_through_between_two_steps_is(tmp_path: Path) -> None:
    with reproducible(seed=5):
        loader = make_loader(torch.arange(8.0), batch_size=2, shuffle=True)
        other = make_loader(torch.arange(8.0), batch_size=2)
        next(iter(other))
        checkpoint = Checkpoint(tmp_path, loader=loader)
        for _ in checkpoint.epochs(2):
            for _ in loader:
                list(other)
                checkpoint.step()
        checkpoint.close()


def test_without_a_loader_epochs_are_steps_enough_by_default(tmp_path: Path) -> None:
    opt_out: dict[str, Any] = {"every": None, "every_seconds": None}
    for how in ({}, opt_out):
        with reproducible(seed=5):
            checkpoint = Checkpoint(tmp_path / str(len(how)), model=torch.nn.Linear(1, 1), **how)
            assert len(list(checkpoint.epochs(2))) == 2
            checkpoint.close()


def test_an_epoch_of_which_nothing_was_left_or_that_only_looked_at_a_batch_is_not_warned_of(tmp_path: Path) -> None:
    trained(tmp_path, every=4, stop=4)
    with reproducible(seed=5):
        training = Training(tmp_path, every=4)
        for epoch in training.checkpoint.epochs(1):
            assert epoch == 0
            assert not list(training.loader)
        training.checkpoint.close()
        training = Training(tmp_path / "other", every=OMITTED)
        for _ in training.checkpoint.epochs(1):
            next(iter(training.loader))
        training.checkpoint.close()


def test_steps_of_which_nothing_could_ever_be_saved_are_refused_at_the_first_one(tmp_path: Path) -> None:
    with reproducible(seed=5):
        training = Training(tmp_path, every=OMITTED)
        batches = iter(training.loader)
        next(batches)
        with pytest.warns(ReplayWarning):
            training.checkpoint.step()
        list(batches)
        with pytest.raises(CheckpointError, match="no loop over a loader"):
            training.checkpoint.step()
        training.checkpoint.close()


def test_many_ranks_ask_each_other_rarely_whether_it_is_time(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    with reproducible(seed=5):
        checkpoint = Training(tmp_path, every=OMITTED).checkpoint
        monkeypatch.setattr(checkpoint_module, "the_ranks", lambda: Ranks(0, 2))

        def gather(value: float) -> list[float]:
            asked.append(checkpoint.steps)
            return [value]

        monkeypatch.setattr(checkpoint_module, "gather", gather)
        found = []
        for step in range(1, 1001):
            checkpoint.steps = step
            clock[0] += 1
            if checkpoint._is_time(600):
                found.append(step)
                break
        checkpoint.close()
    assert found == [600]
    assert len(asked) < 20


def lines_of(directory: Path, capsys: pytest.CaptureFixture[str], epochs: int = 2) -> list[str]:
    """Train, and return what was written to stderr, without the names of directories."""
    trained(directory, epochs=epochs, every=OMITTED)
    error: str = capsys.readouterr().err
    return error.replace(str(directory), "DIR").splitlines()


@pytest.fixture
def without_handlers(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Return a logger as it is in a program that has not set logging up; pytest has, for all that it knows of."""
    logger = logging.Logger("nobody's")
    monkeypatch.setattr(telling, "_logger", logger)
    return logger


@pytest.mark.usefixtures("without_handlers")
def test_what_is_saved_and_resumed_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(tmp_path, capsys) == ["deterministic: saved epoch 1, step 4, in DIR"]
    assert lines_of(tmp_path, capsys) == [
        "deterministic: resumed at epoch 2, step 8, from DIR/step-00000008.safetensors",
        "deterministic: already complete: 2 epochs, 8 steps, in DIR",
    ]
    assert lines_of(tmp_path, capsys, epochs=3)[1:] == ["deterministic: saved epoch 3, step 12, in DIR"]


@pytest.mark.usefixtures("without_handlers")
def test_that_it_is_saved_is_said_at_most_once_a_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with reproducible(seed=5):
        training = Training(tmp_path, every=1)

        def tick(steps: int) -> None:
            clock[0] += 25

        list(training.epochs(2, tick))
        training.checkpoint.close()
    steps = [line.split(", ")[1] for line in capsys.readouterr().err.splitlines()]
    assert steps == ["step 1", "step 4", "step 7"]


@pytest.mark.parametrize("why", ["quiet", "rank 1", "level", "disabled", "repetition"])
def test_who_is_not_to_hear_of_it_does_not(
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    without_handlers: logging.Logger,
) -> None:
    if why == "quiet":
        monkeypatch.setattr(launch, "is_quiet", True)
    elif why == "rank 1":
        monkeypatch.setattr(telling, "the_ranks", lambda: Ranks(1, 2))
    elif why == "level":
        monkeypatch.setattr(without_handlers, "level", logging.WARNING)
    elif why == "disabled":
        monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    if why == "repetition":
        with checkpoints_in(tmp_path / "instead"):
            assert lines_of(tmp_path, capsys) == []
    else:
        assert lines_of(tmp_path, capsys) == []


def test_with_handlers_of_somebody_s_it_is_their_business(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "deterministic")
    assert lines_of(tmp_path, capsys) == []
    assert caplog.messages == [f"saved epoch 1, step 4, in {tmp_path}"]
