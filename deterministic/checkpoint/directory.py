"""The checkpoints of one training in a directory: what they are called, which are kept, where a repetition's go."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import CheckpointError, explain
from .files import TEMPORARY, require_replaceable

_STEP = r"step-([0-9]{8}|[1-9][0-9]{8,17})"
_MAIN = re.compile(_STEP + r"\.safetensors")
_OF_RANK = re.compile(_STEP + r"\.rank[1-9][0-9]*\.safetensors")

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


def directory_of(path: str | os.PathLike[str]) -> Path:
    """Return where the checkpoints of a directory go, and make it.

    Raises:
        CheckpointError: The operating system refuses.
    """
    directory = Path(os.path.abspath(path))  # wherever the training goes meanwhile
    if _instead:
        name = hashlib.blake2b(os.path.abspath(path).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        directory = _instead[-1] / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            explain(
                f"{directory} cannot be the directory of checkpoints",
                (f"found: {error.strerror or error}",),
                "Pass a directory, or the path of one that can be made.",
            )
        ) from error
    return directory


def main_file(directory: Path, steps: int) -> Path:
    """Return the file that a checkpoint has: it exists if and only if the checkpoint is whole."""
    return directory / f"step-{steps:08d}.safetensors"


def file_of_rank(directory: Path, steps: int, rank: int) -> Path:
    """Return the file in which a rank keeps what is its own; rank 0's is the main file."""
    return directory / f"step-{steps:08d}.rank{rank}.safetensors" if rank else main_file(directory, steps)


def saved_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints, in order. Links count for nothing: they may lead anywhere."""
    found = [
        int(match[1])
        for entry in os.scandir(directory)
        if (match := _MAIN.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)
    ]
    return sorted(found)


def sweep(directory: Path) -> None:
    """Delete what killed processes left: files not in place, and those of ranks without the main file."""
    whole = {*saved_steps(directory)}
    for entry in os.scandir(directory):
        of_rank = _OF_RANK.fullmatch(entry.name)
        is_left = entry.name.startswith(".step-") and entry.name.endswith(TEMPORARY)
        is_left = is_left or (of_rank is not None and int(of_rank[1]) not in whole)
        if is_left and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)


def set_aside(directory: Path, steps: int) -> None:
    """Let a damaged checkpoint be none, and leave its file there: else it would be kept in place of a whole one."""
    path = main_file(directory, steps)
    aside = path.with_name(f"{path.name}.damaged")
    require_replaceable(aside)
    os.replace(path, aside)


def prune(directory: Path, keep: int | None, keep_every: int | None, world_size: int) -> None:
    """Delete all checkpoints but the last ones, and those of every so many steps."""
    if keep is None:
        return
    for steps in _superfluous(saved_steps(directory), keep, keep_every):
        for rank in range(world_size):  # the main file first: from then on there is no such checkpoint
            file_of_rank(directory, steps, rank).unlink(missing_ok=True)


def _superfluous(steps: Sequence[int], keep: int, keep_every: int | None) -> list[int]:
    return [step for step in steps[: max(0, len(steps) - keep)] if not (keep_every and step % keep_every == 0)]
