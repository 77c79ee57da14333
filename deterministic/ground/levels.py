"""Levels of determinism, and what to do about entropy: tables that `deterministic run` reads without typing.

Their types are in `config` and `entropy`.
"""

from __future__ import annotations

LEVELS: dict[bool | str, str] = {
    False: "nothing but the seeds",
    "cudnn": "cuDNN: deterministic algorithms, no benchmarking",
    True: "cuDNN, and deterministic algorithms everywhere; an op that has none raises",
    "warn": "as True, but an op that has no deterministic algorithm warns",
}

LEVEL_NAMES: dict[str, bool | str] = {str(level).lower(): level for level in LEVELS}
"""The levels as they are written on a command line."""

ENTROPY: dict[str, str] = {
    "ignore": "nothing is watched",
    "warn": "a warning, once for each line",
    "raise": "an EntropyError, before anything is drawn",
    "seed": "unseeded generators of NumPy and Python take theirs from the run's seed; of all else a warning",
}
"""What can be done where numbers come that no seed decides."""
