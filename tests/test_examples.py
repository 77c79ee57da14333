"""The examples: each runs as it says itself, prints the same every time, and does nothing that its file does not ask.

What varies is tried on the functions of an example, in this process; its commands run in processes of their own.
"""

from __future__ import annotations

import os
import random
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
import yaml

from deterministic import describe, fingerprint, reproducible

from .processes import ROOT

EXAMPLES = ROOT / "examples"
CONFIG = EXAMPLES / "reproducible_training.yaml"
Run: TypeAlias = Callable[..., tuple[str, ...]]
LINE = re.compile(r"^seed (\S+), deterministic (\S+): ([0-9a-f]{32})$", re.MULTILINE)


def commands_of(path: Path) -> list[str]:
    """Return the commands in the first lines of an example; both kinds of file indent them by four."""
    return re.findall(r"^#? {4,5}python (examples/.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


COMMANDS = {
    "train": commands_of(EXAMPLES / "train.py"),
    "config": commands_of(CONFIG),
    "hydra": commands_of(EXAMPLES / "hydra/train.py"),
}


def test_the_examples_say_how_they_are_run() -> None:
    command = "examples/train.py examples/reproducible_training.yaml"
    expected = {
        "train": [command],
        "config": [command],
        "hydra": [
            "examples/hydra/train.py seed=42 deterministic=true",
            "examples/hydra/train.py --multirun seed=1,2,1 deterministic=true",
        ],
    }
    assert expected == COMMANDS


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, ...]]]:
    """Run each command; return what the lines of the results say."""
    (train,), (once, sweep) = COMMANDS["train"], COMMANDS["hydra"]
    runs = {"train": train, "once": once, "sweep": sweep}
    folder = tmp_path_factory.mktemp("examples")
    (folder / "examples").symlink_to(EXAMPLES)  # Hydra writes into the working directory
    started = {
        name: subprocess.Popen(
            [sys.executable, *shlex.split(command)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, command in runs.items()
    }
    found = {}
    for name, process in started.items():
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        found[name] = LINE.findall(output)
    return found


@pytest.mark.slow
def test_in_a_sweep_equal_jobs_print_the_same(printed: dict[str, list[tuple[str, ...]]]) -> None:
    first, second, third = printed["sweep"]
    assert first == third != second
    assert [seed for seed, *_ in (first, second)] == ["1", "2"]
    assert [job[:2] for job in printed["once"]] == [("42", "True")]


@pytest.fixture
def example() -> Iterator[dict[str, Any]]:
    """Give the names of train.py, in a process with one thread, whose generators are given back."""
    with reproducible(seed=None, deterministic=False, num_threads=1):
        yield runpy.run_path(str(EXAMPLES / "train.py"))


@pytest.fixture
def run(example: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Give what runs the example with other lines for `seed` and `deterministic`, and returns what it prints."""

    def run(lines: str, *arguments: str) -> tuple[str, ...]:
        file = tmp_path / "config.yaml"
        text = CONFIG.read_text(encoding="utf-8")
        file.write_text(re.sub(r"(?m)^(seed|deterministic): .*\n", "", text) + lines, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["train.py", str(file), *arguments])
            example["main"]()
        (found,) = LINE.findall(capsys.readouterr().out)
        return tuple(found)

    return run


def by_hand(example: dict[str, Any], seed: int) -> str:
    """Train as before there was this library, from a seed; return the bits."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return fingerprint(example["train"](yaml.safe_load(CONFIG.read_text(encoding="utf-8"))))


@pytest.mark.slow
def test_the_command_prints_the_same_in_every_process(printed: dict[str, list[tuple[str, ...]]], run: Run) -> None:
    lines = re.findall(r"(?m)^(?:seed|deterministic): .*\n", CONFIG.read_text(encoding="utf-8"))
    (found,) = printed["train"]
    assert found[:2] == ("42", "True")
    assert found == run("".join(lines)) == run("".join(lines))


def in_use() -> dict[str, Any]:
    """Describe what is in use: an accelerator that is not yet lists its seed by who waits to give it."""
    return {name: state for name, state in describe().items() if state.get("initialized") is not False}


def test_without_the_two_lines_the_training_is_exactly_what_it_was(example: dict[str, Any], run: Run) -> None:
    bits, after = by_hand(example, 5), in_use()
    with reproducible(seed=5, deterministic=False):
        found, after_it = run(""), in_use()
        again = run("")
    assert found == ("None", "False", bits)
    assert after_it == after, "the generators are where the training has left them"
    assert again != found


@pytest.mark.parametrize("seed", ["0", "42"])
def test_zero_is_a_seed_like_any_other(example: dict[str, Any], run: Run, seed: str) -> None:
    expected = seed, "False", by_hand(example, int(seed))
    assert run(f"seed: {seed}") == run(f"seed: {seed}") == expected


@pytest.mark.parametrize("level", ["false", "cudnn", "true", "warn"])
def test_every_level_that_the_file_explains_is_one(run: Run, level: str) -> None:
    assert f"#   {level:<5}  " in CONFIG.read_text(encoding="utf-8")
    before = describe()
    assert run(f"seed: 3\ndeterministic: {level}")[:2] == (
        "3",
        level.capitalize() if level in ("true", "false") else level,
    )
    assert describe() == before


def test_a_level_alone_seeds_nothing_and_is_given_back(run: Run) -> None:
    before = describe()
    assert run("deterministic: true")[:2] == ("None", "True")
    assert describe() == before


def test_an_override_is_as_good_as_a_line_of_the_file(run: Run) -> None:
    assert run("seed: 1", "--seed", "0") == run("seed: 0")
    assert run("", "--seed", "0") == run("seed: 0")
    assert run("seed: 1") != run("seed: 0")
