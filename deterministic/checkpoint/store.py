"""Saving a moment of a training, on all ranks together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..scope.run import Run
from .bundle import Prepared
from .conditions import conditions
from .directory import file_of_rank, main_file, prune
from .generators import generator_states
from .ranks import gather, own_parts, the_ranks, together
from .save import states_of


class Moment(NamedTuple):
    """What is to be saved.

    Attributes:
        steps: How many steps the training has made.
        epoch: The epoch that is under way or, between two, comes next.
        loaders: The names of the loaders whose epoch is under way; none between two epochs.
        stateful: The objects, by name.
        values: The values, by name.
        run: Whose generators; None: the process's.
    """

    steps: int
    epoch: int
    loaders: Sequence[str]
    stateful: Mapping[str, Any]
    values: Mapping[str, Any]
    run: Run | None


def store(directory: Path, moment: Moment, *, keep: int | None, keep_every: int | None) -> None:
    """Save a moment, and delete the checkpoints that are not kept.

    Each rank writes what is its own, then rank 0 the main file, which has the checksums of theirs: with it the
    checkpoint is there, and not before.

    Raises:
        CheckpointError: It failed on some rank; earlier checkpoints are as they were.
    """
    rank, world_size = the_ranks()
    generators = generator_states(moment.run)
    objects = states_of(moment.stateful)
    if world_size == 1:
        content = {"generators": generators, "objects": objects, "values": dict(moment.values)}
        Prepared(content).stage(main_file(directory, moment.steps), _head(moment)).commit()
        prune(directory, keep, keep_every, world_size)
        return
    own = own_parts(objects)
    checksums = gather(together(lambda: _store_own(directory, moment, rank, {"generators": generators, **own})))

    def commit() -> None:
        if rank == 0:
            content = {"generators": generators, "objects": objects, "values": dict(moment.values)}
            Prepared(content).stage(main_file(directory, moment.steps), _head(moment, checksums)).commit()
            prune(directory, keep, keep_every, world_size)

    together(commit)


def _store_own(directory: Path, moment: Moment, rank: int, content: Mapping[str, Any]) -> str:
    if rank == 0:
        return ""
    prepared = Prepared(content)
    prepared.stage(file_of_rank(directory, moment.steps, rank), {"steps": moment.steps, "rank": rank}).commit()
    return prepared.checksum


def _head(moment: Moment, checksums: list[str] | None = None) -> dict[str, Any]:
    return {
        "steps": moment.steps,
        "epoch": moment.epoch,
        "loaders": [*moment.loaders],
        "ranks": checksums or [""],
        "conditions": conditions(),
    }
