"""What a fresh interpreter is asked to do, and what it answers: files in a folder that both processes know."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..scope.request import Scope
from ..trace.file.model import Level
from .runs import Control, Done
from .scripts import ScriptTask
from .stress import Conditions

JOB, DONE, ERROR, STEPS = "job", "done", "error", "steps"
"""The names of the files: the pickled job, the answer, the pickled exception, how many steps were made."""

SECONDS_BETWEEN_STEPS = 0.1
"""At least, between two writes of the number of steps."""


@dataclass(frozen=True)
class Job:
    """One repetition. Unpickling it imports nothing of the user's.

    Attributes:
        path: Where its trace goes, absolute.
        control: The arguments of its scope; None: as it is.
        level: See `Plan`, as are the next two.
        segment: The segment to record operations in.
        keep: The value to keep.
        script: What to run, if it is a script.
        function: What to run, if it is a function: a pickled `FunctionTask`.
        preparation: For a function what `multiprocessing.spawn.prepare` needs to import the main module again.
        conditions: What to vary.
        parent: The id of the process that waits for it.
    """

    path: str
    control: Mapping[str, Any] | None
    level: Level
    segment: int | None
    keep: tuple[int, int] | None
    script: ScriptTask | None
    function: bytes
    preparation: Mapping[str, Any]
    conditions: Conditions | None
    parent: int


def control_for_job(control: Control) -> Mapping[str, Any] | None:
    """Return the arguments of the scope that another process is to open; None for none.

    Raises:
        TypeError: The scope has generators of the user's, which are objects of this process.
    """
    if control is False:
        return None
    return (Scope() if control is True else control).arguments()


def write_done(folder: Path, done: Done) -> None:
    """Write what is known of a repetition, all of it or nothing."""
    found = {field.name: getattr(done, field.name) for field in fields(done) if field.name != "error"}
    part = folder / f"{DONE}.part"
    part.write_text(json.dumps(found), encoding="utf-8")
    os.replace(part, folder / DONE)


def read_done(folder: Path) -> Done | None:
    """Return what a repetition wrote; None if it ended before it could."""
    try:
        return Done(**json.loads((folder / DONE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
