"""Trainings in forked processes: they are killed as the power failing would, and need not import the framework again.

Only in a process that was started for it, since a fork of one with threads can hang.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from deterministic import fingerprint

from .. import warm
from ..processes import ROOT

KILLED = -signal.SIGKILL

Train = Callable[..., dict[str, Any]]
"""Trains in a folder, from a checkpoint if one is given, and returns what has come out, by name."""

Cases = Mapping[str, tuple[dict[str, Any], tuple[int, ...]]]
"""By name: the arguments of a training, and in which steps it is killed, from 0; also how it ends if it is not."""


class Augmented(Dataset[torch.Tensor]):
    """Features and a target, with noise on the features that is drawn each time."""

    def __init__(self, length: int = 22) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index / self.length, index % 3, 1.0, index % 2]) + 0.1 * torch.randn(4)


def network() -> torch.nn.Module:
    """Return a model that draws in training, and keeps running statistics."""
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(8, 1),
    )


def kill() -> None:
    """End this process at once: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(work: Callable[..., Any], *arguments: Any, **more: Any) -> int:
    """Call `work` in a forked process; return its exit status, or less than 0 for the signal that has ended it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            work(*arguments, **more)
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, it must not leave the child
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end(train: Train, last: Callable[[Path], object], folder: Path, kill_in: int | None, more: Any) -> Any:
    """Return how a training ends; one that is killed, after it was resumed from what `last` finds."""

    def work(*arguments: Any, **others: Any) -> None:
        found = {name: fingerprint(state) for name, state in train(folder, *arguments, **others, **more).items()}
        (folder / "end.json").write_text(json.dumps(found))

    folder.mkdir()
    status = in_a_child(work, kill_in=kill_in)
    if kill_in is not None:
        if status != KILLED:
            return f"it was to be killed, and ended with {status}"
        status = in_a_child(work, last(folder))
    return json.loads((folder / "end.json").read_text()) if status == 0 else f"it ended with {status}"


def run(train: Train, last: Callable[[Path], object], cases: Cases) -> None:
    """Run the cases in the folder that the command line names, and write there how each has ended."""
    import torch._dynamo  # imported here, not in each of the children

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    ends = {
        name: {str(step): end(train, last, folder / f"{name} {step}", step, more) for step in (None, *steps)}
        for name, (more, steps) in cases.items()
    }
    (folder / "ends.json").write_text(json.dumps(ends))


def ends_of(module: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Run the cases of a module in a new process, and return how they have ended: by case, and by the step, as text."""
    more = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with warm.pythons():
        finished = subprocess.run(
            [sys.executable, "-m", f"tests.integrations.{module}", str(folder)],
            cwd=ROOT,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert finished.returncode == 0, finished.stderr
    ends: dict[str, dict[str, Any]] = json.loads((folder / "ends.json").read_text())
    return ends


def different(ends: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return where a training that was killed ended otherwise than the whole one; by case and step, what differs."""
    return {
        f"{case} {step}": found
        if isinstance(found, str)
        else sorted(x for x in found if found[x] != by_step["None"][x])
        for case, by_step in ends.items()
        for step, found in by_step.items()
        if found != by_step["None"]
    }
