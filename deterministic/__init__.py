"""Wrap a block, a function or a loader, and its bits come out the same every time.

The names below are imported on first use: `import deterministic` imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers take it for true; importing typing would double what this import costs
if TYPE_CHECKING:
    from typing import Any

    from ._run import Run as Run
    from ._run import current_run as current_run
    from ._scope import reproducible as reproducible
    from ._scope import seed_everything as seed_everything
    from ._seeds import derive_seed as derive_seed
    from ._seeds import spawn_seeds as spawn_seeds
    from ._snapshot import describe as describe
    from ._verify.levels import compare_levels as compare_levels
    from ._verify.verify import assert_reproducible as assert_reproducible
    from ._verify.verify import verify as verify
    from .checkpoint import Checkpoint as Checkpoint
    from .checkpoint import load_checkpoint as load_checkpoint
    from .checkpoint import save_checkpoint as save_checkpoint
    from .data.loader import make_loader as make_loader
    from .data.sample import sample_rng as sample_rng
    from .data.worker import seed_worker as seed_worker
    from .sources.registry import register_source as register_source
    from .trace.diff import diff as diff
    from .trace.fingerprint import fingerprint as fingerprint
    from .trace.record import record as record

__all__ = [
    "Checkpoint",
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
    "Run": "._run",
    "assert_reproducible": "._verify.verify",
    "compare_levels": "._verify.levels",
    "current_run": "._run",
    "derive_seed": "._seeds",
    "describe": "._snapshot",
    "diff": ".trace.diff",
    "fingerprint": ".trace.fingerprint",
    "load_checkpoint": ".checkpoint",
    "make_loader": ".data.loader",
    "record": ".trace.record",
    "register_source": ".sources.registry",
    "reproducible": "._scope",
    "sample_rng": ".data.sample",
    "save_checkpoint": ".checkpoint",
    "seed_everything": "._scope",
    "seed_worker": ".data.worker",
    "spawn_seeds": "._seeds",
    "verify": "._verify.verify",
}

# What `%load_ext deterministic` and its counterpart look for; no names for a program.
_HOOKS = {"load_ipython_extension": ".ipython", "unload_ipython_extension": ".ipython"}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES.get(name) or _HOOKS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(importlib.import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
