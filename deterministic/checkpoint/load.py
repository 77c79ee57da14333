"""Loading: `load_checkpoint`, the last checkpoint of a `Checkpoint`'s training on all ranks, and a look inside."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ResumeMismatchError, cut
from ..ground.arguments import choice
from ..ground.ranks import Ranks, the_ranks
from ..ground.synonyms import explained
from ..ground.tables import aligned
from ..scope.run import Run
from ..values.fingerprint import fingerprint_if_any
from ..values.stateful import is_stateful
from . import container
from .conditions import MISMATCH, Mismatch, compare, complain, innermost_run, put_back, require_same_place
from .directory import file_of_rank, main_file, refusal, saved_steps, set_aside
from .ranks import together, with_own_parts
from .save import TrainingState
from .sharded import are_sharded, sharded_in
from .spread import put_together
from .stateful import first_difference, is_state, load, problems, state_of, ties, trained

_logger = logging.getLogger("deterministic.checkpoint")


@explained("load_checkpoint(path, model=model, optimizer=optimizer)")
def load_checkpoint(
    path: str | os.PathLike[str], /, *, on_mismatch: Mismatch = "raise", **stateful: Any
) -> dict[str, Any]:
    """Put objects, and every generator, where `save_checkpoint` found them.

    The file is read and checked as a whole before anything is touched. Generators are put back last; settings and
    versions are compared. Afterwards the state of every object is compared, bit for bit, with what was saved.

    What was saved spread over ranks is loaded on any number of them, also into objects that are not sharded, and the
    reverse: each rank reads the parts that it needs. Where one of the objects is sharded, every rank must call it. On
    as many ranks as saved it each gets what was its own, its generators first of all; on another number all get what
    rank 0 had, and it is refused where the ranks did not have the same.

    Args:
        path: Of the file.
        on_mismatch: What to do where versions, hardware, threads or settings differ from those under which it was
            saved, so that the bits may: "raise", or "warn" and go on.
        stateful: The same names as when it was saved. Objects are loaded; of a value it does not matter what is given,
            but for sharded tensors: they come back sharded as those in the same place are, or else whole.

    Returns:
        The saved values of those names that are no objects with a state.

    Raises:
        CheckpointError: A file cannot be read, is damaged, or is none; or this happened on another rank.
        ResumeMismatchError: It has other names, does not fit the objects or this process, or an object is not as it
            was saved after it was loaded. Only in the last case was anything changed.
    """
    choice("on_mismatch", on_mismatch, MISMATCH)
    run = innermost_run()
    ranks = the_ranks() if are_sharded(stateful) else Ranks()
    saved = together(
        lambda: of_ranks(container.read(path), Path(path), ranks),
        lambda saved: put_together(saved, stateful),
        lambda saved: _fitting(path, saved, stateful, run, on_mismatch),
        ranks=ranks,
    )
    together(lambda: _load_objects(path, saved, stateful, on_mismatch), ranks=ranks)
    put_back(saved.generators, run)
    return {name: saved.objects[name]["value"] for name, value in stateful.items() if not is_stateful(value)}


def resume(
    directory: Path,
    steps: Sequence[int],
    stateful: Mapping[str, Any],
    run: Run | None,
    on_mismatch: Mismatch,
    on_damage: str,
) -> TrainingState | None:
    """Load the objects from the last of the checkpoints with these steps; None if there is none.

    The generators, those of a run or the process's, are put back later: only whether they fit is looked at. A
    CheckpointError says that it is damaged, and the previous one not asked for, or that there is no whole one.
    """
    damaged: list[int] = []
    for step in reversed(steps):
        path = main_file(directory, step)
        try:
            read = partial(_state_of_this_rank, directory, step)
            saved = together(read, lambda saved: put_together(saved, stateful))
        except CheckpointError as error:
            if on_damage == "raise" or step == steps[0]:
                raise
            _logger.warning("set aside: %s", error)
            damaged.append(step)
            continue
        together(partial(_fitting, path, saved, stateful, run, on_mismatch))
        together(partial(_load_objects, path, saved, stateful, on_mismatch))
        if the_ranks().rank == 0:
            for other in damaged:
                set_aside(directory, other)
        return saved
    return None


def _state_in(content: container.Content, path: object) -> TrainingState:
    """Return what a file contains, if that is the state of a training."""
    values = content.values
    if not (
        all(isinstance(values.get(name), dict) for name in ("generators", "objects"))
        and isinstance(values["generators"].get("run", values["generators"].get("process")), dict)
        and all(map(is_state, values["objects"].values()))
        and isinstance(content.head.get("conditions", {}), dict)
    ):
        raise refusal(
            f"the checkpoint {path} does not have the generators and objects of a training",
            sorted(values),
            "Pass a file that save_checkpoint wrote, or the main file of a Checkpoint.",
        )
    return TrainingState(content.head.get("conditions", {}), values["generators"], values["objects"])


def _state_of_this_rank(directory: Path, step: int) -> TrainingState:
    """Read a checkpoint as this rank saved it."""
    path = main_file(directory, step)
    content = container.read(path)
    head = content.head
    wrong = [name for name in ("steps", "epoch") if type(head.get(name)) is not int or head[name] < 0]
    wrong += [name for name in ("loaders", "ranks") if not isinstance(head.get(name), list)]
    wrong += ["values"] * (not isinstance(content.values.get("values"), dict))
    if wrong or head["steps"] != step:
        raise CheckpointError(
            f"the checkpoint {path} does not say where its training was",
            tuple(f"{name}: {cut(head.get(name))}" for name in [*wrong, "steps"]),
            "Take one that Checkpoint wrote, under the name that it gave it.",
        )
    state = of_ranks(content, path, the_ranks())
    where = {name: head[name] for name in ("steps", "epoch", "loaders")}
    return state._replace(values=content.values["values"], **where)


def of_ranks(content: container.Content, path: Path, sharing: Ranks) -> TrainingState:
    """Return what a main file contains, with what was this rank's own if as many have saved it.

    The files that have parts of sharded tensors are shared out to be checked: each is read by one of these ranks.
    """
    state, head = _state_in(content, path), content.head
    checksums, own = head.get("ranks", []), head.get("own")
    needed = {rank for sharded in sharded_in(state.objects) for rank, _ in sharded.parts}
    are_texts = [isinstance(one, list) and all(isinstance(text, str) for text in one) for one in (checksums, own or [])]
    if (
        not all(are_texts)
        or not all(not one or one.isalnum() for one in checksums)  # parts of names of files
        or any(rank >= len(checksums) or not checksums[rank] for rank in needed)
    ):
        raise refusal(
            f"the checkpoint {path} does not say what its ranks have written",
            f"ranks: {cut(checksums)}, own: {cut(own)}",
            "Take one that Checkpoint or save_checkpoint wrote.",
        )
    main = Path(os.path.realpath(path))
    files = {rank: file_of_rank(main, rank, checksums[rank]) for rank in needed}
    me = the_ranks()
    mine = me.rank if len(checksums) == me.world_size > 1 else None
    parts = {}
    for rank in sorted({*files, *([mine] if mine else [])}):
        if rank == mine or rank % sharing.world_size == sharing.rank:
            of_rank = _read_of_rank(main, rank, checksums[rank])
            parts[rank] = of_rank.digests
            if rank == mine and rank:  # of rank 0 the main file has it
                objects = with_own_parts(state.objects, of_rank.values["own"])
                state = state._replace(generators=of_rank.values["generators"], objects=objects)
    return state._replace(files=files, parts=parts, own=own)


def _read_of_rank(main: Path, rank: int, checksum: str) -> container.Content:
    """Read a rank's file, which is to be the one that the main file names."""
    file, unmarked = (file_of_rank(main, rank, one) for one in (checksum, ""))
    # Version 0.1.0 had no checksum in the name; where neither is there, the one that is missing has.
    content = container.read(unmarked if unmarked.exists() and not file.exists() else file)
    if content.checksum != checksum:
        raise CheckpointError(
            f"the file of rank {rank} does not belong to {main}",
            (f"found: {content.checksum}", f"expected: {checksum}"),
            "Copy all files of a checkpoint, or take an earlier one.",
        )
    return content


def _fitting(
    path: object, saved: TrainingState, stateful: Mapping[str, Any], run: Run | None, on_mismatch: str
) -> TrainingState:
    """Return a state if objects and generators can be put there, else raise ResumeMismatchError; touches none."""
    misfits = [f"{name}: saved, but not passed" for name in saved.objects if name not in stateful]
    for name, value in stateful.items():
        state = saved.objects.get(name)
        if state is None:
            misfits.append(f"{name}: passed, but not saved")
        elif is_stateful(value) != ("state" in state):
            words = ("a value", "an object with a state_dict")
            misfits.append(f"{name}: saved as {words['state' in state]}, here {words[is_stateful(value)]}")
        elif is_stateful(value):
            misfits += problems(name, value, state)
    if misfits:
        raise ResumeMismatchError(
            f"{path} does not fit what is to be loaded; nothing was changed",
            tuple(misfits),
            "Pass the same names, and make the objects as they were when it was saved.",
        )
    require_same_place(saved.generators, run)
    tied = [] if saved.files else ties(saved.objects, stateful)  # what is sharded is stored once for each name
    if tied:
        complain(
            on_mismatch,
            f"{path} was saved with other parameters that are one",
            tuple(tied),
            'Tie them, or not, as when it was saved, before it is loaded. To go on all the same: on_mismatch="warn".',
        )
    compare(path, saved.conditions, on_mismatch, saved.own)
    return saved


def _load_objects(path: object, state: TrainingState, stateful: Mapping[str, Any], on_mismatch: str) -> None:
    """Load the objects, and raise ResumeMismatchError unless each is now what was saved."""
    saved = state.objects
    objects = {name: value for name, value in stateful.items() if is_stateful(value)}
    digests = {name: fingerprint_if_any(saved[name], state.digests) for name in objects}
    parameters = trained(objects)
    loaded: list[str] = []
    for name, value in objects.items():
        try:
            load(value, saved[name])
        except Exception as error:
            raise ResumeMismatchError(
                f"{name} could not be loaded from {path}",
                (f"found: {type(error).__name__}: {error}", f"loaded before it: {', '.join(loaded) or 'nothing'}"),
                "Make it as it was when it was saved. Begin again with new objects, since these have been changed.",
            ) from error
        loaded.append(name)
    left = trained(objects)
    for name, value in objects.items():
        now, difference = state_of(value), None
        if digests[name] is None or fingerprint_if_any(now) != digests[name]:
            difference = first_difference(saved[name], now, name)
            if difference is None and fingerprint_if_any(saved[name]) != digests[name]:
                difference = f"{name}: the tensors that it was given were changed in place while everything was loaded"
        if difference is None and left.get(name) != parameters.get(name):
            difference = f"{name}: the modules had {parameters[name]} of its parameters, and have {left[name]} now"
        if difference:
            complain(
                on_mismatch,
                f"after loading {path}, {name} is not what was saved",
                (difference,),
                "Its load_state_dict() changes what it is given, or that of another object moves it. "
                'To go on all the same: on_mismatch="warn".',
            )


def inside(path: Path) -> dict[str, Any]:
    """Return what a whole checkpoint, or the last one of a directory, says of itself, as JSON; no tensor is made."""
    others: list[int] = []
    if path.is_dir():
        *others, last = saved_steps(path) or [-1]
        if last < 0:
            raise refusal(f"{path} has no checkpoint", "no file step-*.safetensors", "Pass where a Checkpoint is.")
        path = main_file(path, last)
    content = container.read(path, with_values=False)
    sizes: dict[str, int] = {}
    for name, size in [*content.sizes.items(), *_sizes_of_ranks(Path(os.path.realpath(path)), content.head)]:
        first, *rest = name.split(".")
        owner = rest[0] if first == "objects" and rest else first
        sizes[owner] = sizes.get(owner, 0) + size
    about = {"path": str(path), "checksum": content.checksum}
    return {**about, **content.head, "bytes": sizes, "other_checkpoints": others}


def _sizes_of_ranks(main: Path, head: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the name and the size of each part in the ranks' files; of those of before, which named none, nothing."""
    named = enumerate(head["ranks"] if isinstance(head.get("own"), list) else ())
    files = [file_of_rank(main, rank, checksum) for rank, checksum in named if checksum]
    return [part for file in files for part in container.read(file, with_values=False).sizes.items()]


def shown(about: Mapping[str, Any]) -> str:
    """Return what `inside` returned as people read it."""
    conditions = about.get("conditions", {})
    rows = {"file": about["path"], "checksum": f"{about['checksum']}, of all of it: ok"}
    if "steps" in about:
        within = ", ".join(about.get("loaders", []))
        rows["step"] = f"{about['steps']:,}"
        rows["epoch"] = f"{about['epoch']}" + (f", within it: {within}" if within else ", at its start")
        rows["ranks"] = str(len(about.get("ranks", [""])))
    rows["seed"] = f"{conditions.get('seed')}, deterministic={conditions.get('deterministic')!r}"
    versions = conditions.get("versions", {}).items()
    rows["versions"] = ", ".join(f"{name} {value}" for name, value in versions if value is not None)
    rows |= {f"  {name}": f"{size:,} bytes" for name, size in about["bytes"].items()}
    rows["tensors"] = f"{sum(about['bytes'].values()):,} bytes"
    if about["other_checkpoints"]:
        rows["others"] = "steps " + ", ".join(f"{step:,}" for step in about["other_checkpoints"])
    return "\n".join(aligned([*rows.items()], ""))
