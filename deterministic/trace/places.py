"""The user's line that an operation comes from."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

import torch
import typing_extensions
import wrapt

from .torch_internals import BACKWARD, OPTIMIZER_STEP

_CHECKPOINT_FILE = os.path.join(os.path.dirname(torch.__file__), "utils", "checkpoint.py")

_INSTALLED = tuple(sorted({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")}))

_NOT_THE_USERS = (
    *(os.path.dirname(module.__file__ or "") + os.sep for module in (torch, wrapt)),
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    typing_extensions.__file__,  # which torch marks functions with as deprecated
    "<",  # frozen and generated code
)
_TYPED = ("<ipython-input", "<stdin>", "<string>")
"""What code is called that the user typed, or passed with `python -c`."""

_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep

_TORCHS, _USERS, _CHECKPOINT, _BACKWARD, _OPTIMIZER, _UNKNOWN = range(6)
"""What a frame on the stack can be; most are torch's, and nothing else is 0."""


class Spot:
    """A place in the code while the program runs: one object for each, made readable by `Places.text`."""

    __slots__ = ("code", "instruction")

    def __init__(self, code: CodeType, instruction: int) -> None:
        self.code = code
        self.instruction = instruction


class Found(NamedTuple):
    """The innermost spot of the user's, and whether what was looked for was passed on the way."""

    spot: Spot | None
    passed: bool


class Places:
    """Finds the user's line, and writes it.

    Args:
        absolute: Write absolute paths. Otherwise a path is relative to the working directory or to where packages are
            installed; of any other file only the name is written.
    """

    def __init__(self, *, absolute: bool = False) -> None:
        self._absolute = absolute
        self._directory = os.getcwd() + os.sep
        # By id: to hash a code object is to hash all that is in it. They are kept, so no id comes to mean another.
        self._kinds: dict[int, int] = {}
        self._codes: list[CodeType] = []
        self._spots: dict[tuple[int, int], Spot] = {}

    def here(self) -> Spot | None:
        """Return the innermost spot of the user's that led here, None if there is none on this thread."""
        frame: FrameType | None = sys._getframe(1)
        kinds = self._kinds
        while frame is not None:
            kind = kinds.get(id(frame.f_code), _UNKNOWN)
            if kind and (kind == _USERS or (kind == _UNKNOWN and self._kind(frame.f_code) == _USERS)):
                return self._spot(frame)
            frame = frame.f_back
        return None

    def in_backward(self) -> Found:
        """Return the user's spot within the backward pass (in a custom function, a hook, or a recomputation).

        Returns:
            It, and whether it is in a recomputation.
        """
        # Without the engine on the stack this is a thread of its own, and all there is was called by it.
        return self._look(_CHECKPOINT, until=_BACKWARD)

    def in_optimizer(self) -> Found:
        """Return the user's spot, and whether an optimizer's step is under way."""
        return self._look(_OPTIMIZER)

    def _look(self, wanted: int, until: int = -1) -> Found:
        """Walk outwards until both are found, or a frame of the kind `until`."""
        frame: FrameType | None = sys._getframe(2)
        kinds = self._kinds
        spot, passed = None, False
        while frame is not None:
            kind = kinds.get(id(frame.f_code), _UNKNOWN)
            if kind:
                if kind == _UNKNOWN:
                    kind = self._kind(frame.f_code)
                if kind == until:
                    break
                if kind == _USERS and spot is None:
                    spot = self._spot(frame)
                passed = passed or kind == wanted
                if passed and spot is not None:
                    break
            frame = frame.f_back
        return Found(spot, passed)

    def _kind(self, code: CodeType) -> int:
        kind = self._kinds.get(id(code))
        if kind is None:
            self._codes.append(code)
            kind = self._kinds[id(code)] = kind_of(code)
        return kind

    def _spot(self, frame: FrameType) -> Spot:
        key = id(frame.f_code), frame.f_lasti
        spot = self._spots.get(key)
        if spot is None:
            spot = self._spots[key] = Spot(frame.f_code, frame.f_lasti)
        return spot

    def text(self, spot: Spot | None) -> tuple[str, str]:
        """Return "models.py:17" and the name of the function; empty if there is no spot."""
        if spot is None:
            return "", ""
        line = next(
            (line for start, end, line in spot.code.co_lines() if start <= spot.instruction < end and line is not None),
            spot.code.co_firstlineno,
        )
        return f"{self._path(spot.code.co_filename)}:{line}", spot.code.co_name

    def _path(self, filename: str) -> str:
        if self._absolute:
            return os.path.abspath(filename)
        for root in (*_INSTALLED, self._directory):
            if filename.startswith(root):
                return Path(filename[len(root) :]).as_posix()
        return os.path.basename(filename) if os.path.isabs(filename) else Path(filename).as_posix()


def kind_of(code: CodeType) -> int:
    """Return what a frame with this code is."""
    if code is BACKWARD:
        return _BACKWARD
    if code is OPTIMIZER_STEP:
        return _OPTIMIZER
    if code.co_filename == _CHECKPOINT_FILE:
        return _CHECKPOINT
    return _USERS if is_users(code.co_filename) else _TORCHS


def is_users(filename: str) -> bool:
    """Return whether a file is neither Python's, nor torch's, nor this library's."""
    if filename.startswith(_NOT_THE_USERS):
        return filename.startswith(_TYPED)
    return not filename.startswith(_STANDARD_LIBRARY) or filename.startswith(_INSTALLED)
