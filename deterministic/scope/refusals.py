"""What is refused around torch, and the way out: a scope at a moment that would record it, an operation in a scope."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType

from ..errors import OURS, ScopeConflictError, annotate, place

_REFUSED = "does not have a deterministic implementation"

IN_SCOPE = (
    'To go on with a warning: reproducible(..., deterministic="warn"). '
    "To allow it in one place: with run.allow_nondeterministic(): ..."
)


def explain_refusal(error: BaseException, way_out: str = IN_SCOPE) -> None:
    """Add a note to the RuntimeError of a refused operation: the user's line, and what to do. Once per error."""
    if not isinstance(error, RuntimeError) or _REFUSED not in str(error):
        return
    line = _users_line(error.__traceback__)
    note = f"called at: {line}\n{way_out}"
    if "\ncalled at: " in "\n".join(["", str(error), *getattr(error, "__notes__", ())]):
        return
    annotate(error, note)


def _users_line(traceback: TracebackType | None) -> str:
    """Return the deepest line that is neither torch's nor this library's."""
    foreign = (os.path.dirname(str(sys.modules["torch"].__file__)) + os.sep, OURS)
    line = "unknown"
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not filename.startswith(foreign):
            line = place(filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def refuse_moments() -> Callable[[], None]:
    """Return what raises while a CUDA graph is being captured, or torch.export or torch.jit.trace records a program."""
    import torch

    from ..sources.accelerators import capturing

    is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", bool)  # torch 2.7

    def refuse_moment() -> None:
        if capturing():
            what, reason = "a CUDA graph is being captured", "the current stream is capturing"
            remedy = "Enter it around the capture: what the graph replays is fixed then."
        elif is_exporting():
            what, reason = "torch.export records: the exported program would drop it", "torch.export is running"
            remedy = "Enter the scope around the calls of the exported program."
        elif torch._C._get_tracing_state() is not None:
            what, reason = "torch.jit.trace records: the traced graph would drop it", "torch.jit.trace is running"
            remedy = "Enter the scope around the calls of the traced function."
        else:
            return
        raise ScopeConflictError(f"a scope cannot be entered while {what}", (f"found: {reason}",), remedy)

    return refuse_moment
