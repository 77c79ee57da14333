"""What a Checkpoint is told: when to save, what to keep, what to refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deterministic import Checkpoint, fingerprint, make_loader, reproducible, verify
from deterministic.checkpoint.directory import saved_steps
from deterministic.errors import CheckpointError, NondeterminismWarning, ResumeMismatchError

from .trainings import Noisy, Training, trained


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    end = trained(tmp_path_factory.mktemp("uninterrupted"))
    assert end is not None
    return end


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
    assert "set aside" in caplog.text
    assert last.with_name(f"{last.name}.damaged").exists()


def test_where_all_are_damaged_that_is_said(tmp_path: Path) -> None:
    trained(tmp_path, stop=7)
    for file in tmp_path.glob("step-*"):
        file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        trained(tmp_path, on_damage="previous")


def test_other_conditions_are_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    trained(tmp_path, stop=7)
    with reproducible(seed=6, deterministic="cudnn"):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
        before = fingerprint(model.state_dict())
        parts: dict[str, Any] = {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), 0.05)}
        parts["loader"] = make_loader(Noisy(), batch_size=3, shuffle=True, seed=5)
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
        ({"plain": torch.utils.data.DataLoader(Noisy())}, TypeError),
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


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({"every_steps": 10}, r"Write every=10\.$"),
        ({"save_every": 10}, r"Write every=10\.$"),
        ({"save_total_limit": 2}, r"Write keep=2\.$"),
        ({"save_freq": 10}, r"Write every=10\.$"),
        ({"interval": 10}, r"Write every=10\.$"),
        ({"save_interval": 10}, r"Write every=10\.$"),
        ({"keep_last": 2}, r"Write keep=2\.$"),
        ({"keep_last_n": 2}, r"Write keep=2\.$"),
        ({"save_top_k": 2}, r"Write keep=2\.$"),
        ({"n_epochs": 2}, r"`for epoch in checkpoint\.epochs\(n\):`"),
        ({"num_epochs": 2}, r"`for epoch in checkpoint\.epochs\(n\):`"),
        ({"epochs": 2}, r"`for epoch in checkpoint\.epochs\(n\):`"),
        ({"every_n_epochs": 2}, r"saves at the end of each; every= counts steps\.$"),
        ({"evry": 10}, r"Write every=10\.$"),
        ({"random_seed": 1}, r"Write `with reproducible\(seed=1\):` around the training\.$"),
        ({"on_mismach": "warn"}, r"Write on_mismatch='warn'\.$"),
        ({"model": nn.Linear(1, 1).state_dict()}, r"Pass the object itself, not its state_dict\(\)"),
        ({"lr": 0.1}, r"values\['lr'\]"),
        (
            {"nets": [nn.Linear(1, 1)] * 2},
            r"each of the 2 .*\*\*\{f'nets_\{i\}': one for i, one in enumerate\(nets\)\}\.$",
        ),
        ({"by_name": {"a": nn.Linear(1, 1)}}, r"enumerate\(by_name\.values\(\)\)\}\.$"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_has_no_state_may_be_an_argument_by_another_name(
    arguments: dict[str, Any], written: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=written):
        Checkpoint(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["path", "dir", "folder", "dirpath", "save_dir", "directroy"])
def test_a_directory_by_another_name_is_told_as_it_is_called_here(name: str, tmp_path: Path) -> None:
    make: Any = Checkpoint
    for given, written in ((tmp_path, r"\.\.\."), (str(tmp_path), f"'.*{tmp_path.name}'")):
        with pytest.raises(TypeError, match=rf"found: {name}=\n  expected: directory\nWrite directory={written}\.$"):
            make(every=3, model=nn.Linear(1, 1, device="meta"), **{name: given})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'directory'"):
        make(model=nn.Linear(1, 1, device="meta"))


def test_an_object_without_a_name_is_told_how_to_be_named(tmp_path: Path) -> None:
    make: Any = Checkpoint
    with pytest.raises(
        TypeError, match=r"found: a value of type Linear without a name\nWrite Checkpoint\(directory, .*model=model"
    ):
        make(tmp_path / "new", nn.Linear(1, 1, device="meta"))


class Metric(nn.Module):
    """As a metric of torchmetrics: its states are no buffers, and `persistent(True)` puts them into its state."""

    is_persistent = False
    total = torch.zeros(())

    @property
    def metric_state(self) -> dict[str, torch.Tensor]:
        return {"total": self.total}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.metric_state if self.is_persistent else {}


def test_states_of_metrics_that_are_not_saved_are_warned_of(tmp_path: Path) -> None:
    metric = Metric()
    with pytest.warns(NondeterminismWarning, match="states of metrics.*\n.*'total'\n.*persistent"):
        Checkpoint(tmp_path / "lost", metric=metric).close()
    metric.is_persistent = True
    Checkpoint(tmp_path / "saved", metric=metric).close()
