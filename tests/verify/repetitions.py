"""One repetition in a fresh interpreter, and what its trace says of its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deterministic._verify.isolated import Isolated
from deterministic._verify.runs import Done, Plan
from deterministic._verify.scripts import ScriptTask
from deterministic._verify.tasks import FunctionTask
from deterministic.trace.file import TraceReader


def run_once(
    task: ScriptTask | FunctionTask,
    path: Path,
    *,
    timeout: float | None = None,
    on_step: Callable[[int], None] = lambda steps: None,
) -> Done:
    return Isolated(task, stress=False, timeout=timeout)(0, Plan(path, True), on_step)


def footer_of(path: Path) -> Any:
    with TraceReader(path) as reader:
        list(reader.segments())
        return reader.footer
