"""Saving: `save_checkpoint` for a loop of the user's own, and a moment of a `Checkpoint`'s training on all ranks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..ground.ranks import gather, the_ranks
from ..ground.synonyms import explained
from ..provenance.collecting import kept_manifest
from . import container
from .conditions import conditions, generator_states, innermost_run
from .directory import delete_replaced, file_of_rank, main_file, prune
from .ranks import own_parts, together
from .sharded import holds_sharded, share_out
from .stateful import names_of_parameters, states_of


@explained("save_checkpoint(path, model=model, optimizer=optimizer)")
def save_checkpoint(path: str | os.PathLike[str], /, **stateful: Any) -> None:
    """Save the state of objects, and of every generator, in one file.

    The file is written under a temporary name, flushed to the disk and put in place: at any instant there is the old
    one, whole, or the new one, whole. There is no pickle in it. Not thread-safe: nothing may change the objects
    meanwhile.

    Where an object is spread over ranks (FSDP2's `fully_shard`, tensor parallelism, any DTensor), every rank must call
    it, with the same path on a disk that they share. Each rank writes the parts that are its own into a file beside
    `path`: "model.rank3.0123456789abcdef.safetensors" for "model.safetensors", with the file's checksum in its name.
    Then rank 0 writes `path`, which names these files, and deletes those of the save before.

    Args:
        path: Of the file; its directory must exist. Through a link, what it leads to is replaced.
        stateful: What to save, by name: anything with `state_dict` and `load_state_dict` (models, optimizers,
            schedulers, loaders, GradScaler, EMA), or a value: numbers, text, tensors, arrays, containers of these.
            Of a module are saved, too: gradients, buffers that are not persistent, what is frozen or in eval mode.

    Raises:
        CheckpointError: A value is of another kind, which is named, and nothing is written; or the operating system
            refuses, and what was there is left. Of sharded objects: it failed on some rank, or the ranks have other
            objects, or parts that do not make up the whole.

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
    main = Path(os.path.realpath(path))
    states, names = states_of(stateful), names_of_parameters(stateful)
    state = TrainingState(conditions(), generator_states(innermost_run()), states, parameters=names)
    if holds_sharded(state.objects):
        _write_all(main, state, {}, {})
    else:  # of this rank alone: it may be the only one that calls
        values = {"generators": state.generators, "objects": state.objects, "parameters": state.parameters}
        container.write(main, {"conditions": state.conditions, "manifest": kept_manifest()}, values)


class TrainingState(NamedTuple):
    """A moment of a training, and the conditions under which it ran.

    Between two epochs it names no loaders, and the epoch that comes next; else the one that is under way, and the
    loaders that it goes over. One that was read says where the ranks' files with parts of sharded tensors are, and what
    each rank had of its own, by name, None if the file does not say it; also the digests of the parts in the files that
    this rank has checked, and of the tensors that were made of those, by their `id`. One that is saved says what the
    parameters of each optimizer are called in its module, for `to_dcp`.
    """

    conditions: Mapping[str, Any]
    generators: Mapping[str, Any]
    objects: Mapping[str, Any]
    values: Mapping[str, Any] = {}
    steps: int = 0
    epoch: int = 0
    loaders: Sequence[str] = ()
    files: Mapping[int, Path] = {}
    parts: Mapping[int, Mapping[str, bytes]] = {}
    digests: Mapping[int, tuple[Tensor, bytes]] = {}
    own: Sequence[str] | None = None
    parameters: Mapping[str, Sequence[str]] = {}


def save_state(directory: Path, state: TrainingState, *, keep: int | None, keep_every: int | None) -> None:
    """Save a moment, and delete the checkpoints that are not kept; if it fails on a rank, they are as they were."""
    head = {"steps": state.steps, "epoch": state.epoch, "loaders": state.loaders}
    main = main_file(directory, state.steps)
    _write_all(main, state, head, {"values": state.values}, partial(prune, directory, keep, keep_every))


def _write_all(
    main: Path,
    state: TrainingState,
    head: Mapping[str, Any],
    values: Mapping[str, Any],
    then: Callable[[], None] = lambda: None,
) -> None:
    """Write the files of a checkpoint on all ranks.

    Each rank writes what is its own, then rank 0 the main file, which has the checksums of theirs: with it the
    checkpoint is there, and not before. One that is replaced is whole until then.
    """
    rank = the_ranks().rank
    objects, shards = share_out(state.objects)
    own, names = own_parts(objects, state.generators)

    def save_own() -> str:
        if rank == 0 and not shards:
            return ""
        named = partial(file_of_rank, main, rank)
        return container.write(named(), {"rank": rank}, {"generators": state.generators, "own": own}, named, shards)

    def save_main() -> None:
        if rank == 0:
            content = {"generators": state.generators, "objects": objects, "parameters": state.parameters, **values}
            more = {"ranks": checksums, "own": names, "conditions": state.conditions, "manifest": kept_manifest()}
            container.write(main, {**head, **more}, content)
            delete_replaced(main, checksums)
            then()

    checksums = gather(together(save_own))
    together(save_main)
