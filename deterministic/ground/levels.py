"""The levels of determinism as a table, which `deterministic run` reads without typing; their type is in `config`."""

from __future__ import annotations

LEVELS: dict[bool | str, str] = {
    False: "nothing but the seeds",
    "cudnn": "cuDNN: deterministic algorithms, no benchmarking",
    True: "cuDNN, and deterministic algorithms everywhere; an op that has none raises",
    "warn": "as True, but an op that has no deterministic algorithm warns",
}

LEVEL_NAMES: dict[str, bool | str] = {str(level).lower(): level for level in LEVELS}
"""The levels as they are written on a command line."""
