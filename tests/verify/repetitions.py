"""One repetition in a fresh interpreter, and what its trace says of its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deterministic.trace.file.store import TraceReader
from deterministic.verification.isolated import IsolatedRuns
from deterministic.verification.runs import Done, FunctionTask, Plan
from deterministic.verification.scripts import ScriptTask


def run_once(
    task: ScriptTask | FunctionTask,
    path: Path,
    *,
    timeout: float | None = None,
    on_step: Callable[[int], None] = lambda steps: None,
) -> Done:
    return IsolatedRuns(task, stress=False, timeout=timeout)(0, Plan(path, True), on_step)


def footer_of(path: Path) -> Any:
    with TraceReader(path) as reader:
        list(reader.segments())
        return reader.footer
