"""Loading the last checkpoint of a training, on all ranks together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CheckpointError, cut, explain
from ..scope.run import Run
from . import bundle
from .conditions import compare
from .directory import file_of_rank, main_file, set_aside
from .generators import require_same_place
from .ranks import the_ranks, together, with_own_parts
from .save import Mismatch, content_of, load_objects, require_fit

_logger = logging.getLogger("deterministic.checkpoint")


class Resumed(NamedTuple):
    """Where a training goes on.

    Attributes:
        steps: How many steps it had made.
        epoch: The epoch that was under way or came next.
        loaders: The names of the loaders whose epoch was under way; none between two epochs.
        values: The user's.
        generators: What to put back, when it goes on.
        objects: The states of the objects, as they were loaded.
    """

    steps: int
    epoch: int
    loaders: Sequence[str]
    values: Mapping[str, Any]
    generators: Mapping[str, Any]
    objects: Mapping[str, Any]


def resume(
    directory: Path,
    steps: Sequence[int],
    stateful: Mapping[str, Any],
    run: Run | None,
    on_mismatch: Mismatch,
    on_damage: str,
) -> Resumed | None:
    """Load the objects from the last checkpoint.

    Args:
        directory: Where the checkpoints are.
        steps: Which there are, in order.
        stateful: The objects, by name.
        run: Whose generators are to go on.
        on_mismatch: As of `Checkpoint`.
        on_damage: As of `Checkpoint`.

    Returns:
        Where the training goes on; None if there is no checkpoint.

    Raises:
        CheckpointError: It is damaged, and the previous one is not asked for, or there is no whole one.
        ResumeMismatchError: It does not fit the objects or this process.
    """
    damaged: list[int] = []
    for step in reversed(steps):
        try:
            found = together(lambda step=step: _read(directory, step))  # type: ignore[misc]
        except CheckpointError as error:
            if on_damage == "raise" or step == steps[0]:
                raise
            _logger.warning("set aside: %s", error)
            damaged.append(step)
            continue
        path = main_file(directory, step)

        def load(path: Path = path, found: _Content = found) -> None:
            require_fit(path, found.objects, stateful)
            require_same_place(found.generators, run)
            compare(path, found.head.get("conditions", {}), on_mismatch)

        together(load)
        together(lambda path=path, found=found: load_objects(path, found.objects, stateful, on_mismatch))  # type: ignore[misc]
        if the_ranks().rank == 0:
            for other in damaged:
                set_aside(directory, other)
        head = found.head
        return Resumed(head["steps"], head["epoch"], head["loaders"], found.values, found.generators, found.objects)
    return None


class _Content(NamedTuple):
    head: Mapping[str, Any]
    objects: dict[str, Any]
    values: Mapping[str, Any]
    generators: Mapping[str, Any]


def _read(directory: Path, step: int) -> _Content:
    """Read a checkpoint as this rank saved it."""
    path = main_file(directory, step)
    found = bundle.read(path)
    content = content_of(found, path)
    head = dict(found.head)
    wrong = [name for name in ("steps", "epoch") if type(head.get(name)) is not int or head[name] < 0]
    wrong += [name for name in ("loaders", "ranks") if not isinstance(head.get(name), list)]
    wrong += ["values"] * (not isinstance(content.get("values"), dict))
    if wrong or head["steps"] != step:
        raise CheckpointError(
            explain(
                f"the checkpoint {path} does not say where its training was",
                tuple(f"{name}: {cut(head.get(name))}" for name in [*wrong, "steps"]),
                "Take one that Checkpoint wrote, under the name that it gave it.",
            )
        )
    rank = the_ranks().rank
    generators, objects = content["generators"], content["objects"]
    if 0 < rank < len(head["ranks"]):
        own = bundle.read(file_of_rank(directory, step, rank))
        if own.checksum != head["ranks"][rank]:
            raise CheckpointError(
                explain(
                    f"the file of rank {rank} does not belong to {path}",
                    (f"found: {own.checksum}", f"expected: {head['ranks'][rank]}"),
                    "Copy all files of a checkpoint, or take an earlier one.",
                )
            )
        generators = own.values["generators"]
        objects = with_own_parts(objects, own.values["own"])
    return _Content(head, objects, content["values"], generators)
