"""Where torch cannot run compiled code under a dispatch mode: no compiled code, while operations are recorded."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import torch
from torch.utils import _python_dispatch

from ...ground.imports import once_imported

RUNS_COMPILED = hasattr(_python_dispatch.TorchDispatchMode, "ignore_compile_internals")
"""Whether compiled code runs compiled under a mode that asks for it.

Torch 2.6 has no way to ask. It runs what it met under a mode operation by operation for ever after; or, if the mode is
hidden from it, compiles it again in each call, until it gives up.
"""

_DYNAMO = "torch._dynamo"


class _Stance:
    """Holds `torch.compiler.set_stance("force_eager")` while somebody records operations."""

    def __init__(self) -> None:
        self._depth = 0
        self._held: Any = None
        self._is_registered = False

    def hold(self) -> None:
        """Run no compiled code from now on, on a torch that would not run it compiled."""
        if RUNS_COMPILED:
            return
        self._depth += 1
        if _DYNAMO in sys.modules:
            self._set(sys.modules[_DYNAMO])
        elif not self._is_registered:
            # Importing it takes seconds. The hook stays, and does nothing while nobody records.
            self._is_registered = True
            once_imported(_DYNAMO, self._set)

    def release(self) -> None:
        """Run it again, when nobody holds it any more."""
        self._depth = max(0, self._depth - 1)
        if not self._depth and self._held is not None:
            self._held.__exit__(None, None, None)
            self._held = None

    def _set(self, dynamo: ModuleType) -> None:
        if self._depth and self._held is None:
            self._held = torch.compiler.set_stance("force_eager")


EAGER = _Stance()
