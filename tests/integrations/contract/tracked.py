"""The lines that docs/trackers.md has for each tracker."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deterministic import Checkpoint, fingerprint, reproducible

PAGE = Path(__file__).parents[3] / "docs" / "trackers.md"


def lines_of(tracker: str) -> str:
    """Return the lines of the page below the heading of a tracker."""
    found = re.search(rf"^### {tracker}\n.*?^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found is not None
    return found[1]


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


def track(tracker: str, folder: Path, tracking: AbstractContextManager[Mapping[str, Any]]) -> dict[str, Any]:
    """Run the lines of a tracker inside a block; return what was to be logged."""
    with reproducible(7):
        undisturbed = drawn()
        model = torch.nn.Linear(2, 1)
        checkpoint = Checkpoint(folder / "checkpoints", every=10, model=model)
        checkpoint.step()
    with reproducible(7) as run, tracking as objects:
        exec(
            compile(lines_of(tracker), str(PAGE), "exec"),
            {"run": run, "checkpoint": checkpoint, "model": model, "fingerprint": fingerprint, "textwrap": textwrap}
            | dict(objects),
        )
        assert drawn() == undisturbed
        return {"report": run.report(), "model": fingerprint(model)}
