"""What the first moments cost: importing the package, and the first entry in a process."""

from __future__ import annotations

IMPORT = {
    "bare Python": "import time; t = time.perf_counter(); print(time.perf_counter() - t)",
    "import deterministic": (
        "import time; t = time.perf_counter(); import deterministic; print(time.perf_counter() - t)"
    ),
}
"""Seconds inside a running interpreter."""

_ENTER = """
import random, time
import numpy, torch
{before}
t = time.perf_counter()
{timed}
print(time.perf_counter() - t)
"""

FIRST_ENTRY = {
    "first `with reproducible(0)`": _ENTER.format(
        before="from deterministic import reproducible", timed="with reproducible(0):\n    pass"
    ),
    "import deterministic and first entry": _ENTER.format(
        before="", timed="from deterministic import reproducible\nwith reproducible(0):\n    pass"
    ),
    "torch.use_deterministic_algorithms(True)": _ENTER.format(
        before="", timed="torch.use_deterministic_algorithms(True)"
    ),
}
"""Seconds in a process that has imported torch and numpy and done nothing else."""
