from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from deterministic import reproducible
from deterministic.cli import demo as verb
from deterministic.cli import main
from deterministic.cli.demo import OTHER_SEED, SEED, DemoRun, Digits, Training, judge

PNG = b"\x89PNG\r\n\x1a\n"

SAME_BITS, OTHER_BITS, ALL_DIFFER, GIVEN_BACK = range(4)
"""The checks, in the order of `judge`."""


def demo(*arguments: str, sabotage: str = "") -> subprocess.CompletedProcess[str]:
    """Run the demo for one epoch in a process of its own, after the lines of `sabotage`."""
    code = f"""{sabotage}
import sys
from deterministic.cli import main
sys.exit(main({["demo", "--epochs=1", *arguments]}))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "0"} if sabotage else None
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def optimizer_imported() -> None:
    """What the canary sees of first imports: an optimizer's, of torch's settings; sklearn's, in which rich draws."""
    torch.optim.Adam([torch.zeros(1)])
    importlib.import_module("sklearn.datasets")


def some_runs() -> list[DemoRun]:
    """Runs as they should come out."""

    def some(label: str, seed: int | None, weights: str) -> DemoRun:
        return DemoRun(label, seed, Training((2.5, 0.5), 0.75, weights), {"python.random": "1"}, {"python.random": "1"})

    return [
        *(some(f"uncontrolled {number}", None, f"free {number}") for number in (1, 2, 3)),
        *(some(label, SEED, "same") for label in ("reproducible 1", "reproducible 2", "reproducible 3", "decorated")),
        some("another seed", OTHER_SEED, "other"),
    ]


def holds(trained: list[DemoRun]) -> list[bool]:
    return [check.holds for check in judge(trained)]


@pytest.mark.slow
def test_the_demo_passes_and_draws_its_curves(tmp_path: Path) -> None:
    done = demo("--plot", str(tmp_path / "curves.png"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nPASS\n" in done.stdout
    assert "Traceback" not in done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.count("│") == 6][1:]
    assert [row[1].strip() for row in rows] == ["-", "-", "-", "42", "42", "42", "42", "7"]
    assert len({row[4] for row in rows}) == 5
    assert all(float.fromhex(row[2].strip()) > 0 for row in rows)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pythons")
def test_the_demo_fails_when_the_scopes_do_not_seed() -> None:
    done = demo(
        "--json",
        sabotage="""
from deterministic.scope import reproducible as home
real = home.reproducible
home.reproducible = lambda *, seed, **options: real(seed=None, **options)
""",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "FAIL"
    assert not found["checks"][SAME_BITS]["holds"]
    assert found["runs"][3]["weights"] in found["checks"][SAME_BITS]["found"]
    assert found["checks"][GIVEN_BACK]["holds"]


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pythons")
def test_the_demo_fails_when_the_scopes_leak() -> None:
    done = demo(
        "--json",
        sabotage="""
import contextlib, random
from deterministic.scope import reproducible as home
real = home.reproducible

@contextlib.contextmanager
def leaking(**options):
    with real(**options) as run:
        yield run
    random.random()

home.reproducible = leaking
""",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "FAIL"
    assert [check["holds"] for check in found["checks"]] == [True, True, True, False]
    assert "another seed changed python.random, random.getstate()" in found["checks"][GIVEN_BACK]["found"]


@pytest.mark.parametrize(
    ("packages", "arguments", "extra", "names"),
    [
        (["sklearn"], (), "demo", "scikit-learn"),
        (["sklearn", "rich"], (), "demo", "scikit-learn, rich"),
        (["matplotlib"], ("--plot", "curves.png"), "plot", "matplotlib"),
    ],
)
def test_a_missing_package_is_named_with_its_extra_before_any_training(
    packages: list[str],
    arguments: tuple[str, ...],
    extra: str,
    names: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(verb, "perform", None)
    assert main(["demo", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    first, second, third = shown.err.splitlines()
    assert first.startswith(f"deterministic demo: error: {'--plot' if arguments else 'the demo'} needs ")
    assert second == f"  missing: {names}"
    assert f"pip install 'deterministic[{extra}]'" in third


@pytest.mark.parametrize("name", ["curves.svg", "nowhere/curves.png"])
def test_a_picture_that_could_not_be_written_is_refused_before_any_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "perform", None)
    assert main(["demo", "--plot", str(tmp_path / name)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize("epochs", ["0", "-1", "1.5", "many"])
def test_epochs_are_a_positive_integer(epochs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", f"--epochs={epochs}"])
    assert exit_.value.code == 2
    assert "is not an integer of 1 or more" in capsys.readouterr().err


def test_the_verdict_holds_for_runs_as_they_should_be() -> None:
    assert holds(some_runs()) == [True, True, True, True]


def test_the_verdict_sees_one_of_the_same_seed_that_differs_in_the_weights_or_in_the_losses_alone() -> None:
    for place in range(3, 7):
        for outcome in (Training((2.5, 0.5), 0.75, "strayed"), Training((2.5, 0.5000001), 0.75, "same")):
            trained = some_runs()
            trained[place] = trained[place]._replace(outcome=outcome)
            assert holds(trained) == [False, True, True, True]


def test_the_verdict_sees_another_seed_with_the_same_bits() -> None:
    trained = some_runs()
    trained[7] = trained[7]._replace(outcome=trained[3].outcome)
    assert holds(trained) == [True, False, True, True]


def test_the_verdict_sees_two_uncontrolled_runs_with_the_same_bits() -> None:
    trained = some_runs()
    trained[2] = trained[2]._replace(outcome=trained[0].outcome)
    assert holds(trained) == [True, True, False, True]


@pytest.mark.parametrize("after", [{"python.random": "2"}, {}, {"python.random": "1", "new": "1"}])
def test_the_verdict_sees_a_state_that_changed(after: dict[str, str]) -> None:
    for place in range(3, 8):
        trained = some_runs()
        trained[place] = trained[place]._replace(after=after)
        assert holds(trained) == [True, True, True, False]
        assert trained[place].label in judge(trained)[GIVEN_BACK].found


def test_the_verdict_on_no_runs_is_not_a_pass() -> None:
    assert holds([]) == [False, False, False, False]


def test_a_failed_check_is_shown_with_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    trained = some_runs()
    trained[7] = trained[7]._replace(after={})
    with reproducible(seed=None, deterministic=False):  # importing rich draws
        verb.show(trained, judge(trained))
    shown = capsys.readouterr().out
    assert "FAIL" in shown
    assert "PASS" not in shown
    assert "found: another seed changed python.random" in shown


def _torch_draw() -> object:
    return torch.rand(())


def _torch_flag() -> None:
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("change", [random.random, np.random.random, _torch_draw, _torch_flag])
def test_the_states_show_a_change_of_any_generator_and_of_a_setting(change: Callable[[], object]) -> None:
    with reproducible(seed=None, deterministic=False):
        before = verb.states()
        assert verb.states() == before
        change()
        assert verb.states() != before


@pytest.mark.slow
@pytest.mark.usefixtures("optimizer_imported")
def test_the_workers_have_ended_when_training_returns() -> None:
    data = Digits(torch.Generator().manual_seed(0))
    steps: list[int] = []
    with reproducible(seed=0, deterministic=False):
        outcome = verb.train(DataLoader, data, 1, steps.append)
    assert len(steps) == 1
    assert len(outcome.losses) == 2
    assert multiprocessing.active_children() == []


def test_the_split_depends_on_its_generator_alone_and_loses_no_scan() -> None:
    def split() -> tuple[Any, ...]:
        data = Digits(torch.Generator().manual_seed(1))
        return data.images, data.labels, data.held_out_images, data.held_out_labels

    with reproducible(seed=1, deterministic=False):
        first = split()
    with reproducible(seed=2, deterministic=False):
        second = split()
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert len(first[1]) == verb.TRAINED_ON
    assert len(first[3]) == verb.HELD_OUT
    assert len(first[1]) + len(first[3]) == 1797


def test_a_scan_is_augmented_from_all_three_generators_and_is_itself_left_alone() -> None:
    data = Digits(torch.Generator().manual_seed(1))
    original = data.images.clone()
    with reproducible(seed=0, deterministic=False):
        before = verb.states()
        for _ in range(50):
            data[0]
        after = verb.states()
    for witness in ("random.getstate()", "numpy.random.get_state()", "torch.get_rng_state()"):
        assert before[witness] != after[witness]
    assert torch.equal(data.images, original)


def test_drawing_leaves_matplotlib_as_it_is(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    verb.plot(some_runs(), tmp_path / "curves.png")
    assert dict(mpl.rcParams) == before
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
