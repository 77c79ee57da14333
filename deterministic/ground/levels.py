"""The levels of determinism as a table, which `deterministic run` reads without importing typing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Level

LEVELS: dict[Level, str] = {
    False: "nothing but the seeds",
    "cudnn": "cuDNN: deterministic algorithms, no benchmarking",
    True: "cuDNN, and deterministic algorithms everywhere; an op that has none raises",
    "warn": "as True, but an op that has no deterministic algorithm warns",
}

LEVEL_NAMES: dict[str, Level] = {str(level).lower(): level for level in LEVELS}
"""The levels as they are written on a command line."""
