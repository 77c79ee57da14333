"""Moments at which no scope may be entered, because what it does would be recorded, or lost."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import ScopeConflictError, explain
from ..sources.accelerators import capturing

# torch 2.7
_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", bool)


def refuse_moment() -> None:
    """Raise while a CUDA graph is being captured, or torch.export or torch.jit.trace records.

    Raises:
        ScopeConflictError: This is such a moment.
    """
    if capturing():
        raise ScopeConflictError(
            explain(
                "a scope cannot be entered while a CUDA graph is being captured",
                ("found: the current stream is capturing",),
                "Enter it around the capture: what the graph replays is fixed then.",
            )
        )
    if _is_exporting():
        raise ScopeConflictError(
            explain(
                "a scope cannot be entered while torch.export records: the exported program would drop it",
                ("found: torch.export is running",),
                "Enter the scope around the calls of the exported program.",
            )
        )
    if torch._C._get_tracing_state() is not None:
        raise ScopeConflictError(
            explain(
                "a scope cannot be entered while torch.jit.trace records: the traced graph would drop it",
                ("found: torch.jit.trace is running",),
                "Enter the scope around the calls of the traced function.",
            )
        )
