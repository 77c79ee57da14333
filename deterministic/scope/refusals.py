"""The way out, added to the error of an operation that has no deterministic implementation."""

from __future__ import annotations

import os
from types import TracebackType

from ..errors import OURS, annotate, place

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
    import torch

    foreign = (os.path.dirname(torch.__file__) + os.sep, OURS)
    line = "unknown"
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not filename.startswith(foreign):
            line = place(filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return line
