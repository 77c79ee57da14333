"""Exceptions and warnings, and the one function that words them.

Every exception has two parents: `DeterministicError`, to catch whatever this library raises, and the builtin that a
caller unaware of this library would catch.
"""

from __future__ import annotations

import os
import reprlib
import sys
import warnings
from types import FrameType

__all__ = [
    "CheckpointError",
    "DeterministicError",
    "EntropyError",
    "ManifestError",
    "NondeterminismWarning",
    "NotReproducibleError",
    "RepeatedDrawsWarning",
    "ReplayWarning",
    "ResumeMismatchError",
    "ScopeConflictError",
    "ScopeOrderWarning",
    "SeedError",
    "TooLateWarning",
    "TraceError",
    "explain",
    "warn",
]

_LONGEST = 10_000
"""Characters of one value in an error: enough for every path and list of names, and for no content of a file."""

OURS = os.path.dirname(__file__) + os.sep  # what the files of this library begin with


class DeterministicError(Exception):
    """Base of every exception that this library raises. The text is that of `explain`, or one that is given alone."""

    def __init__(self, differs: str = "", values: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(explain(differs, values, remedy) if values or remedy else differs)


class SeedError(DeterministicError, ValueError):
    """A seed is of the wrong type, out of range, or missing where one is needed."""


class ScopeConflictError(DeterministicError, RuntimeError):
    """Another thread or asyncio task has a scope open, or a scope cannot be entered here."""


class EntropyError(DeterministicError, RuntimeError):
    """Random numbers that no seed decides were about to be drawn, where `entropy="raise"` refuses them."""


class NotReproducibleError(DeterministicError, AssertionError):
    """Two runs that should have had the same bits differ."""


class ResumeMismatchError(DeterministicError, ValueError):
    """A saved state does not fit the process that it is loaded into."""


class CheckpointError(DeterministicError, ValueError):
    """A checkpoint cannot be read or written, or a value cannot be stored in one."""


class ManifestError(DeterministicError, ValueError):
    """A manifest cannot be read or written, or is none."""


class TraceError(DeterministicError, ValueError):
    """A trace cannot be read, written, or compared with another; or a file is none."""


class ScopeOrderWarning(UserWarning):
    """Scopes were closed in another order than the reverse of their opening, or were left open."""


class ReplayWarning(UserWarning):
    """Something must be done again, at a cost, to get back to where a state was saved."""


class RepeatedDrawsWarning(UserWarning):
    """Random numbers come again that were drawn before, where others are meant."""


class TooLateWarning(UserWarning):
    """A setting was applied after the moment at which it is read."""


class NondeterminismWarning(UserWarning):
    """Something in the run is not deterministic."""


def clipped(text: str, longest: int = 80) -> str:
    """Return a text that is no longer than it may be."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def explain(differs: str, values: tuple[str, ...], remedy: str) -> str:
    """Word an error: what differs, the values one to a line, what to do.

    Args:
        differs: One sentence that says what is wrong.
        values: What was found and what was expected, in this order, one line each.
        remedy: What the reader can do about it.

    Returns:
        The lines, joined.

    Example:
        >>> print(explain("seed is out of range", ("found: -1", "expected: 0 <= seed < 2**64"), "Pass another seed."))
        seed is out of range
          found: -1
          expected: 0 <= seed < 2**64
        Pass another seed.
    """
    clipped = (value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..." for value in values)
    return "\n".join((differs, *(f"  {value}" for value in clipped), remedy))


def type_error(differs: str, values: tuple[str, ...], remedy: str) -> TypeError:
    """Return a TypeError that `explain` words."""
    return TypeError(explain(differs, values, remedy))


def value_error(differs: str, values: tuple[str, ...], remedy: str) -> ValueError:
    """Return a ValueError that `explain` words."""
    return ValueError(explain(differs, values, remedy))


class _Short(reprlib.Repr):
    """Cuts what is long, deep or contains itself."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 200, 200

    def repr_int(self, x: int, level: int) -> str:
        # Python turns no number of some thousand digits into decimal ones.
        return repr(x) if x.bit_length() <= 512 else f"an integer of {x.bit_length()} bits"


cut = _Short().repr
"""Return a value of somebody else's for an error, as `repr` has it, but short; takes any value, however large."""


def warn(category: type[Warning], text: str, values: tuple[str, ...] = (), remedy: str = "") -> None:
    """Warn at the line of the user's that led here, whatever the depth inside this library.

    Args:
        category: Of which kind.
        text: What `explain` worded; or, where there are other arguments, what differs.
        values: The other arguments of `explain`.
        remedy: The last of them.
    """
    text = explain(text, values, remedy) if values or remedy else text
    warnings.warn(text, category, stacklevel=_users_frame()[1])


def annotate(error: BaseException, note: str) -> None:
    """Add a note to somebody else's error, once.

    Python 3.10 has no notes: there an error that is a text alone gets a longer one.
    """
    if sys.version_info >= (3, 11):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    elif error.args == (str(error),) and note not in error.args[0]:
        error.args = (f"{error}\n{note}",)


def users_line() -> str:
    """Return the line of the user's that led here, as "file.py:12"."""
    frame, _ = _users_frame()
    return place(frame.f_code.co_filename, frame.f_lineno)


def place(filename: str, line: int) -> str:
    """Return a line as its reader finds it: "file.py:12", or in a notebook "Cell In[3]:12"."""
    return f"{cell(filename) or filename}:{line}"


def cell(filename: str) -> str:
    """Return what IPython calls the cell that code with this filename is in, "Cell In[3]"; empty if it is in none."""
    shell = getattr(
        getattr(sys.modules.get("IPython.core.interactiveshell"), "InteractiveShell", None), "_instance", None
    )
    spoken = None if shell is None else shell.compile.format_code_name(filename)
    return " ".join(spoken) if spoken else ""


def _users_frame() -> tuple[FrameType, int]:
    """Return the first frame outside of this library, and the `stacklevel` at which the caller would warn there."""
    frame = sys._getframe(2)
    depth = 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
        depth += 1
    return frame, depth
