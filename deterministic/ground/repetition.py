"""Where the checkpoints of a repetition go; nothing else of checkpoints is needed to run one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_instead: list[Path] = []
"""What `checkpoints_in` was entered with, the innermost last. No context variable: the threads of a training, too."""


@contextmanager
def checkpoints_in(folder: Path) -> Iterator[None]:
    """Let the checkpoints of this process go into a folder, whatever directories it names: those of a repetition."""
    _instead.append(folder)
    try:
        yield
    finally:
        _instead.pop()


def instead() -> Path | None:
    """Return the folder in which the checkpoints of this repetition go, which nobody goes on from; None of no one."""
    return _instead[-1] if _instead else None
