"""Saving: `save_checkpoint` for a loop of the user's own, and a moment of a `Checkpoint`'s training on all ranks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..ground.synonyms import explained
from . import container
from .conditions import conditions, generator_states, innermost_run
from .directory import delete_replaced, file_of_rank, main_file, prune
from .ranks import gather, own_parts, the_ranks, together
from .stateful import states_of


@explained("save_checkpoint(path, model=model, optimizer=optimizer)")
def save_checkpoint(path: str | os.PathLike[str], /, **stateful: Any) -> None:
    """Save the state of objects, and of every generator, in one file.

    The file is written under a temporary name, flushed to the disk and put in place: at any instant there is the old
    one, whole, or the new one, whole. There is no pickle in it. Not thread-safe: nothing may change the objects
    meanwhile.

    Args:
        path: Of the file; its directory must exist. Through a link, what it leads to is replaced.
        stateful: What to save, by name: anything with `state_dict` and `load_state_dict` (models, optimizers,
            schedulers, loaders, GradScaler, EMA), or a value: numbers, text, tensors, arrays, containers of these.
            Of a module are saved, too: gradients, buffers that are not persistent, what is frozen or in eval mode.

    Raises:
        CheckpointError: A value is of another kind, which is named, and nothing is written; or the operating system
            refuses, and what was there is left.

    Example:
        >>> import tempfile, torch
        >>> from deterministic import load_checkpoint, reproducible, save_checkpoint
        >>> path = tempfile.mkdtemp() + "/a.safetensors"
        >>> with reproducible(seed=0):
        ...     model = torch.nn.Linear(2, 2)
        ...     save_checkpoint(path, model=model, step=3)
        ...     load_checkpoint(path, model=model, step=0)
        {'step': 3}
    """
    values = {"generators": generator_states(innermost_run()), "objects": states_of(stateful)}
    container.write(Path(os.path.realpath(path)), {"conditions": conditions()}, values)


class TrainingState(NamedTuple):
    """A moment of a training, and the conditions under which it ran.

    Between two epochs it names no loaders, and the epoch that comes next; else the one that is under way, and the
    loaders that it goes over.
    """

    conditions: Mapping[str, Any]
    generators: Mapping[str, Any]
    objects: Mapping[str, Any]
    values: Mapping[str, Any] = {}
    steps: int = 0
    epoch: int = 0
    loaders: Sequence[str] = ()


def save_state(directory: Path, state: TrainingState, *, keep: int | None, keep_every: int | None) -> None:
    """Save a moment, and delete the checkpoints that are not kept.

    Each rank writes what is its own, then rank 0 the main file, which has the checksums of theirs: with it the
    checkpoint is there, and not before. A checkpoint of the same step is whole until then.

    Raises:
        CheckpointError: It failed on some rank; earlier checkpoints are as they were.
    """
    rank = the_ranks().rank
    own = own_parts(state.objects)

    def save_own() -> str:
        if rank == 0:
            return ""
        named = partial(file_of_rank, directory, state.steps, rank)
        head = {"steps": state.steps, "rank": rank}
        return container.write(named(), head, {"generators": state.generators, "own": own}, named)

    def save_main() -> None:
        if rank == 0:
            content = {"generators": state.generators, "objects": state.objects, "values": state.values}
            where = {"steps": state.steps, "epoch": state.epoch, "loaders": state.loaders}
            head = {**where, "ranks": checksums, "conditions": state.conditions}
            container.write(main_file(directory, state.steps), head, content)
            delete_replaced(directory, state.steps, checksums)
            prune(directory, keep, keep_every)

    checksums = gather(together(save_own))
    together(save_main)
