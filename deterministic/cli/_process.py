"""Seeds and flags for the rest of a process: each library gets its own at the moment at which it is imported.

A script that does not use torch does not wait for it, and one that sets variables before it imports torch still may.
Nothing is given back, and no scope is open: the script's own scopes, threads and signals are as without us.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import sys
from typing import Any

from ..ground import launch as launching
from ..ground.config import Config
from ..ground.imports import once_imported, once_torch_imported
from ..ground.launch import Launch
from ..ground.seeds import numpy_seed, torch_seed

_SEEDED_HERE = ("python.random", "numpy.random")


def control(launch: Launch, *, asked: str = "") -> None:
    """Seed the generators and set the flags of this process, for good.

    Args:
        launch: What was asked for.
        asked: Where the seed was given, to say at the end if the script never used it; empty: not to be said.
    """
    if launch.seed is not None:
        seed = launch.seed
        random.seed(seed)
        once_imported("numpy.random", lambda numpy_random: numpy_random.seed(numpy_seed(seed)))
    once_torch_imported(lambda sources: _apply(sources, launch))
    if launch.seeds_file is not None:
        launching.seen = {}
        atexit.register(_tell_seeds, launch.seeds_file, os.getpid())
    elif asked:
        launching.seen = {}
        atexit.register(_tell_ignored, launch.seed, asked, os.getpid())


def _apply(sources: Any, launch: Launch) -> None:
    from ..ground import snapshot

    # What was drawn before torch was imported stays drawn.
    torchs = [source for source in sources.SOURCES if source.name not in _SEEDED_HERE]
    config = Config(launch.seed, launch.deterministic, launch.num_threads)
    snapshot.apply(snapshot.capture(torchs), config)


def _tell_ignored(seed: int | None, asked: str, process: int) -> None:
    """Say that the script gave every scope, or torch, another seed itself, and that this won."""
    if os.getpid() != process:
        return
    seen, last = launching.seen or {}, _last_seed_of_torch()
    told = []
    if seen and seed not in seen:
        given = ", ".join(map(str, seen))
        told.append(f"gave reproducible() the seed {given} itself, which wins over {asked} inside of it")
    if last not in {None, *(torch_seed(one) for one in (seed, *seen) if one is not None)}:
        told.append(f"seeded torch with {last} itself, which wins over {asked} from there on")
    for what in told:
        sys.stderr.write(f"deterministic run: the script {what}. Leave it out there to have the command's.\n")


def _tell_seeds(path: str, process: int) -> None:
    """Write which seeds were used: those of scopes, and what torch's generator was last seeded with."""
    if os.getpid() != process:
        return  # a copy of the process: its parent tells
    # Where the script has deleted it, nobody will be told.
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
        json.dump({"scopes": list(launching.seen or ()), "torch": _last_seed_of_torch()}, file)


def _last_seed_of_torch() -> int | None:
    """Return what torch was last seeded with, which it alone of the libraries remembers; None if it is not imported."""
    seed_of_torch = getattr(sys.modules.get("torch"), "initial_seed", None)  # not there in a script's own torch.py
    return None if seed_of_torch is None else seed_of_torch()
