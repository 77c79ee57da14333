"""The first step after which a script has not the same on two numbers of ranks, and what is reported of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic.cli import main
from deterministic.values.distance import elements_of
from deterministic.verification import world_sizes
from deterministic.verification.launches import LaunchJob
from deterministic.verification.processes import leave_answer
from deterministic.verification.scripts import ScriptTask
from deterministic.verification.step_lines import lines_of
from deterministic.verification.world_sizes import WorldSizes, first_difference

from .stepped import train


def nudged(at: int) -> Callable[[int, Any, torch.optim.Optimizer], None]:
    """Return what changes a bias at a step, on which no gradient depends."""

    def change(step: int, net: Any, optimizer: torch.optim.Optimizer) -> None:
        if step == at:
            with torch.no_grad():
                net[1].bias.add_(1.0)

    return change


def test_the_first_value_is_named_with_its_module_and_step(tmp_path: Path) -> None:
    one = train(tmp_path / "a")
    assert first_difference(one, train(tmp_path / "b")) is None
    found = first_difference(one, train(tmp_path / "c", change=nudged(1)))
    assert found is not None
    assert (found.line, found.place, found.step) == (2, 3, 1)
    assert found.rows["first difference"] == "1.bias of BatchNorm1d, after step 1 of AdamW"
    assert found.rows["then"] == "1 of 19 values differ there"
    assert "world_invariant" in found.rows["next"]


def test_a_state_of_the_optimizer_and_a_buffer_are_named_where_the_weights_are_the_same(tmp_path: Path) -> None:
    def of_state(step: int, net: Any, optimizer: torch.optim.Optimizer) -> None:
        if step == 1:
            optimizer.state[net[0].bias]["marked"] = 1

    def of_buffer(step: int, net: Any, optimizer: torch.optim.Optimizer) -> None:
        net[1].num_batches_tracked += step == 2

    one = train(tmp_path / "a")
    for name, change, told in (
        ("b", of_state, "marked of 0.bias of Linear, after step 1 of AdamW"),
        ("c", of_buffer, "1.num_batches_tracked of BatchNorm1d, after step 2 of AdamW"),
    ):
        found = first_difference(one, train(tmp_path / name, change=change))
        assert found is not None
        assert found.rows["first difference"] == told
        assert found.rows["next"] == (world_sizes._OTHERS if name == "b" else world_sizes._REMEDY)


def test_other_weights_before_the_first_step_are_told_apart(tmp_path: Path) -> None:
    found = first_difference(train(tmp_path / "a"), train(tmp_path / "b", change=nudged(0)))
    assert found is not None
    assert found.step == -1
    assert found.rows["first difference"] == "1.bias of BatchNorm1d, before AdamW begins"
    assert "give all ranks one seed" in found.rows["next"]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_another_number_of_steps_is_a_difference(tmp_path: Path, is_reversed: bool) -> None:
    pair = [train(tmp_path / "a", steps=2), train(tmp_path / "b", steps=3)]
    found = first_difference(*(pair[::-1] if is_reversed else pair))
    assert found is not None
    assert (found.place, found.step) == (None, 2)
    said = ["no more steps", "after step 2 of AdamW"]
    assert found.rows["first difference"] == " - ".join(said[::-1] if is_reversed else said)


def test_another_optimizer_is_a_difference(tmp_path: Path) -> None:
    found = first_difference(train(tmp_path / "a"), train(tmp_path / "b", kind=torch.optim.SGD))
    assert found is not None
    assert found.rows["first difference"] == "before AdamW begins - before SGD begins"


# What is reported, without a process.


Launched = Callable[[LaunchJob, Path, float | None], tuple[Path, list[str]]]


def report(
    monkeypatch: pytest.MonkeyPatch, folder: Path, launched: Launched, sizes: Sequence[int] = (1, 2)
) -> world_sizes.WorldSizesReport:
    monkeypatch.setattr(world_sizes, "launched", launched)
    return WorldSizes(ScriptTask("train.py", ["--fast"]), sizes, folder).report()


def test_a_difference_is_run_again_for_how_far_apart_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def launched(job: LaunchJob, folder: Path, timeout: float | None) -> tuple[Path, list[str]]:
        asked.append((job.ranks, job.keep))
        path = train(folder, change=nudged(1 if job.ranks > 1 else 9))
        if job.keep is not None:
            digests = [*lines_of(path)][job.keep[0]].digests
            leave_answer(folder, (digests, elements_of(torch.tensor([1.0, 1.0 + 2.0**-23 * (job.ranks - 1)]))))
        return folder, []

    found = report(monkeypatch, tmp_path, launched, (1, 2, 4))
    assert asked == [(1, None), (2, None), (1, (2, 3)), (2, (2, 3))]
    assert str(found).splitlines() == [
        "not the same on 1 and 2 ranks: train.py --fast differs first at step 1 of 3",
        "  first difference  1.bias of BatchNorm1d, after step 1 of AdamW",
        "  what differs      float32[2]; 1 of 2 elements, by up to 1 ULP (1.2e-07 relative)",
        "  then              1 of 19 values differ there",
        f"  next              {world_sizes._REMEDY}",
        "  note: not tried: 4 ranks",
    ]
    assert found.exit_code == 1
    data = json.loads(found.to_json())
    assert (data["outcome"], data["world_sizes"], data["runs"]) == ("different", [1, 2], 2)
    assert data["first_difference"]["step"] == 1
    assert data["first_difference"]["what differs"].startswith("float32[2]; 1 of 2")


def test_what_differs_from_run_to_run_is_not_blamed_on_the_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launched(job: LaunchJob, folder: Path, timeout: float | None) -> tuple[Path, list[str]]:
        train(folder, change=nudged(1 if job.ranks > 1 else 9))
        if job.keep is not None and job.ranks == 2:
            return folder, ["was ended after 3 seconds, the timeout"]
        leave_answer(folder, (["0" * 32], None))
        return folder, []

    found = report(monkeypatch, tmp_path, launched)
    assert [*found.notes] == [
        f"run again, on 1 rank: other values than before. {world_sizes._NOT_REPRODUCIBLE}",
        "run again, on 2 ranks: was ended after 3 seconds, the timeout",
    ]
    assert "what differs" not in str(found)


def test_the_same_is_told_with_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def launched(job: LaunchJob, folder: Path, timeout: float | None) -> tuple[Path, list[str]]:
        return train(folder, steps=1).parent, []

    found = report(monkeypatch, tmp_path, launched, (1, 2, 4))
    assert (str(found), found.exit_code) == ("the same on 1, 2 and 4 ranks: train.py --fast, 1 step each", 0)


def test_nothing_to_compare_is_no_sameness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def launched(job: LaunchJob, folder: Path, timeout: float | None) -> tuple[Path, list[str]]:
        return train(folder, steps=0).parent, []

    found = report(monkeypatch, tmp_path, launched)
    assert found.exit_code == 2
    assert [*found.reasons] == ["on 1 rank: no optimizer made a step", world_sizes._BY_HAND]


def test_what_has_no_fingerprint_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mark(step: int, net: Any, optimizer: torch.optim.Optimizer) -> None:
        if step:
            optimizer.state[net[0].bias]["thing"] = object()

    def launched(job: LaunchJob, folder: Path, timeout: float | None) -> tuple[Path, list[str]]:
        return train(folder, change=mark).parent, []

    found = report(monkeypatch, tmp_path, launched)
    assert found.exit_code == 2
    assert [*found.reasons] == ["thing of 0.bias of Linear has no fingerprint"]


@pytest.mark.parametrize("sizes", ["1", "2,2", "0,1", "1,-2", "1,two", "1,,2", "", "1.5,2"])
def test_what_are_no_numbers_of_ranks_is_refused(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", f"--world-sizes={sizes}", __file__])
    assert ended.value.code == 2
    assert f"{sizes!r} is not two or more numbers of ranks, each once, as in 1,2,4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--runs", "2"], ["--stress"], ["--keep-traces", "."], ["--show-output"], ["--ignore-output"]]
)
def test_options_about_several_runs_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--world-sizes", "1,2", *options, __file__]) == 2
    assert f"found: --world-sizes, {options[0]}\n" in capsys.readouterr().err
