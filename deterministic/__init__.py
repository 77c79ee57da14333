"""Wrap a block, a function or a loader, and its bits come out the same every time.

The names below are imported on first use: `import deterministic` imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # type checkers take it for true; importing typing would double what this import costs
if TYPE_CHECKING:
    from typing import Any

    from .checkpoint import Checkpoint as Checkpoint
    from .checkpoint import load_checkpoint as load_checkpoint
    from .checkpoint import save_checkpoint as save_checkpoint
    from .data.loader import make_loader as make_loader
    from .data.samples.keys import sample_rng as sample_rng
    from .data.samples.worker import seed_worker as seed_worker
    from .ground.seeds import derive_seed as derive_seed
    from .ground.seeds import spawn_seeds as spawn_seeds
    from .provenance.collecting import manifest as manifest
    from .provenance.manifest import Manifest as Manifest
    from .scope.reproducible import reproducible as reproducible
    from .scope.reproducible import seed_everything as seed_everything
    from .scope.run import Run as Run
    from .scope.run import current_run as current_run
    from .sources.registry import describe as describe
    from .sources.registry import register_source as register_source
    from .trace.comparing.diff import diff as diff
    from .trace.recording.record import record as record
    from .values.fingerprint import fingerprint as fingerprint
    from .verification.levels import compare_levels as compare_levels
    from .verification.verify import assert_reproducible as assert_reproducible
    from .verification.verify import verify as verify

__all__ = [
    "Checkpoint",
    "Manifest",
    "Run",
    "assert_reproducible",
    "compare_levels",
    "current_run",
    "derive_seed",
    "describe",
    "diff",
    "fingerprint",
    "load_checkpoint",
    "make_loader",
    "manifest",
    "record",
    "register_source",
    "reproducible",
    "sample_rng",
    "save_checkpoint",
    "seed_everything",
    "seed_worker",
    "spawn_seeds",
    "verify",
]

_HOMES = {
    "Checkpoint": ".checkpoint",
    "Manifest": ".provenance.manifest",
    "Run": ".scope.run",
    "assert_reproducible": ".verification.verify",
    "compare_levels": ".verification.levels",
    "current_run": ".scope.run",
    "derive_seed": ".ground.seeds",
    "describe": ".sources.registry",
    "diff": ".trace.comparing.diff",
    "fingerprint": ".values.fingerprint",
    "load_checkpoint": ".checkpoint",
    "make_loader": ".data.loader",
    "manifest": ".provenance.collecting",
    "record": ".trace.recording.record",
    "register_source": ".sources.registry",
    "reproducible": ".scope.reproducible",
    "sample_rng": ".data.samples.keys",
    "save_checkpoint": ".checkpoint",
    "seed_everything": ".scope.reproducible",
    "seed_worker": ".data.samples.worker",
    "spawn_seeds": ".ground.seeds",
    "verify": ".verification.verify",
}

_MODULES = ("errors", "testing")

# What `%load_ext deterministic` and its counterpart look for; no names for a program.
_HOOKS = {"load_ipython_extension": ".ipython", "unload_ipython_extension": ".ipython"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or _HOOKS.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home, __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        synonyms = importlib.import_module(".ground.synonyms", __name__)
        raise synonyms.no_such_name(name, __all__, sys._getframe(1))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
