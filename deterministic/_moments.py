"""Moments at which no scope may be entered, because what it does would be recorded, or lost."""

from __future__ import annotations

import torch

from .errors import ScopeConflictError, explain
from .sources.accelerators import capturing


def refuse_moment() -> None:
    """Raise while a CUDA graph is being captured or torch.jit.trace records.

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
    if torch._C._get_tracing_state() is not None:
        raise ScopeConflictError(
            explain(
                "a scope cannot be entered while torch.jit.trace records: the traced graph would drop it",
                ("found: torch.jit.trace is running",),
                "Enter the scope around the calls of the traced function.",
            )
        )
