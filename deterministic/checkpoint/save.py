"""`save_checkpoint` and `load_checkpoint`: the state of a training in one file, for a loop of the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import CheckpointError, NondeterminismWarning, ResumeMismatchError, explain, warn
from . import bundle
from .arguments import check_choice
from .bundle import Bundle
from .conditions import ON_MISMATCH, compare, conditions
from .generators import generator_states, innermost_run, put_back, require_same_place
from .stateful import digest, first_difference, is_state, is_stateful, load, problems, state_of, trained

Mismatch = Literal["raise", "warn"]


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
    bundle.Prepared(values).stage(Path(os.path.realpath(path)), {"conditions": conditions()}).commit()


def load_checkpoint(
    path: str | os.PathLike[str], /, *, on_mismatch: Mismatch = "raise", **stateful: Any
) -> dict[str, Any]:
    """Put objects, and every generator, where `save_checkpoint` found them.

    The file is read and checked as a whole before anything is touched. Generators are put back last; settings and
    versions are compared. Afterwards the state of every object is compared, bit for bit, with what was saved.

    Args:
        path: Of the file.
        on_mismatch: What to do where versions, hardware, threads or settings differ from those under which it was
            saved, so that the bits may: "raise", or "warn" and go on.
        stateful: The same names as when it was saved. Objects are loaded; of a value it does not matter what is given.

    Returns:
        The saved values of those names that are no objects with a state.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is none.
        ResumeMismatchError: It has other names, does not fit the objects or this process, or an object is not as it
            was saved after it was loaded. Only in the last case was anything changed.
    """
    check_choice("on_mismatch", on_mismatch, ON_MISMATCH)
    found = bundle.read(path)
    saved = content_of(found, path)
    require_fit(path, saved["objects"], stateful)
    require_same_place(saved["generators"], innermost_run())
    compare(path, found.head.get("conditions", {}), on_mismatch)
    load_objects(path, saved["objects"], stateful, on_mismatch)
    put_back(saved["generators"], innermost_run())
    return {name: saved["objects"][name]["value"] for name, value in stateful.items() if not is_stateful(value)}


def states_of(stateful: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the state of each object, and each value."""
    return {name: state_of(value) if is_stateful(value) else {"value": value} for name, value in stateful.items()}


def content_of(found: Bundle, path: object) -> dict[str, Any]:
    """Return the values of a file, if they are those of a checkpoint."""
    content = dict(found.values)
    if not (
        all(isinstance(content.get(name), dict) for name in ("generators", "objects"))
        and isinstance(content["generators"].get("run", content["generators"].get("process")), dict)
        and all(map(is_state, content["objects"].values()))
        and isinstance(found.head.get("conditions", {}), dict)
    ):
        raise CheckpointError(
            explain(
                f"the checkpoint {path} has not the generators and objects of a training",
                (f"found: {sorted(content)}",),
                "Pass a file that save_checkpoint wrote, or the main file of a Checkpoint.",
            )
        )
    return content


def require_fit(path: object, saved: Mapping[str, Any], stateful: Mapping[str, Any]) -> None:
    """Raise ResumeMismatchError if objects cannot be put where the saved states say; touches none."""
    found = [f"{name}: saved, and not passed" for name in saved if name not in stateful]
    found += [f"{name}: passed, and not saved" for name in stateful if name not in saved]
    for name, value in stateful.items():
        if name in saved and is_stateful(value) != ("state" in saved[name]):
            words = ("a value", "an object with a state_dict")
            found.append(f"{name}: saved as {words['state' in saved[name]]}, here {words[is_stateful(value)]}")
        elif name in saved and is_stateful(value):
            found += problems(name, value, saved[name])
    if found:
        raise ResumeMismatchError(
            explain(
                f"{path} does not fit what is to be loaded; nothing was changed",
                tuple(found),
                "Pass the same names, and make the objects as they were when it was saved.",
            )
        )


def load_objects(path: object, saved: Mapping[str, Any], stateful: Mapping[str, Any], on_mismatch: str) -> None:
    """Load the objects, and raise ResumeMismatchError unless each is now what was saved."""
    loaded: list[str] = []
    digests = {name: digest(saved[name]) for name, value in stateful.items() if is_stateful(value)}
    parameters = trained(stateful)
    for name, value in stateful.items():
        if not is_stateful(value):
            continue
        try:
            load(value, saved[name])
        except Exception as error:
            raise ResumeMismatchError(
                explain(
                    f"{name} could not be loaded from {path}",
                    (f"found: {type(error).__name__}: {error}", f"loaded before it: {', '.join(loaded) or 'nothing'}"),
                    "Make it as it was when it was saved; begin again with new objects, for these have changed.",
                )
            ) from error
        loaded.append(name)
    left = trained(stateful)
    for name in loaded:
        difference = first_difference(saved[name], state_of(stateful[name]), name)
        if difference is None and digest(saved[name]) != digests[name]:
            difference = f"{name}: the tensors that it was given were changed in place while everything was loaded"
        if difference is None and left.get(name) != parameters.get(name):
            difference = f"{name}: the modules had {parameters[name]} of its parameters, and have {left[name]} now"
        if difference:
            text = explain(
                f"after loading {path}, {name} is not what was saved",
                (difference,),
                "Its load_state_dict() changes what it is given, or that of another object moves it. "
                'To go on all the same: on_mismatch="warn".',
            )
            if on_mismatch == "raise":
                raise ResumeMismatchError(text)
            warn(NondeterminismWarning, text)
