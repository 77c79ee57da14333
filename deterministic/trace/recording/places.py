"""The user's line that an operation comes from."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
import typing_extensions
import wrapt

from ...errors import cell
from ...ground.callers import whose
from ...values.numbers import hash_of_text
from ..file.model import MOST_CALLERS, Line
from .torch_internals import BACKWARD, OPTIMIZER_STEP

_CHECKPOINT_FILE = os.path.join(os.path.dirname(torch.__file__), "utils", "checkpoint.py")

_INSTALLED = tuple(sorted({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")}))

_LEFT_OUT = (
    *(os.path.dirname(module.__file__ or "") + os.sep for module in (torch, wrapt)),
    typing_extensions.__file__,  # which torch marks functions with as deprecated
    sysconfig.get_path("scripts") + os.sep,  # commands, as deterministic and torchrun
)

_TORCHS, _OTHERS, _OWN, _CHECKPOINT, _BACKWARD, _OPTIMIZER, _UNKNOWN = range(7)
"""What a frame on the stack can be; most are torch's, and nothing else is 0. Others': of installed packages, and such
as pass operations on."""

_PASSING_ON = ("__torch_function__", "__torch_dispatch__")
"""Of subclasses of Tensor, and of modes: every operation goes through them, so their line alone does not tell which."""

_LONGEST_TEXT = 160


@dataclass(frozen=True, eq=False)  # to hash a code object is to hash all that is in it
class Spot:
    """A place in the code while the program runs, and what led there: made readable by `Places.lines`."""

    code: CodeType  # of the innermost function,
    instruction: int  # which of its instructions is running
    callers: Sequence[tuple[CodeType, int]] = ()  # the same of those that called it, at most `MOST_CALLERS`
    own: int = -1  # which of all these lines is the innermost of the user's own, from 0; -1 if none is

    @property
    def innermost(self) -> tuple[int, int]:
        """What all spots have in common that are at the same line, whatever led there."""
        return id(self.code), self.instruction


class Places:
    """Finds the user's line, and writes it, with `texts` also what stands there.

    A path that is not `absolute` is relative to the working directory or to where packages are installed; of any other
    file only the name is written.
    """

    def __init__(self, *, absolute: bool = False, texts: bool = True) -> None:
        self._absolute = absolute
        self._texts = texts
        self._sources: dict[str, tuple[Sequence[str], str]] = {}  # the lines of each file, and its digest
        self._directory = os.getcwd() + os.sep
        # By id, as in `Spot.innermost`. They are kept, so no id comes to mean another.
        self._kinds: dict[int, int] = {}
        self._codes: list[CodeType] = []
        self._spots: dict[tuple[int, ...], Spot] = {}

    def here(self) -> Spot | None:
        """Return the innermost spot outside of torch that led here, None if there is none on this thread."""
        return self._look(_TORCHS)[0]

    def in_backward(self) -> tuple[Spot | None, bool]:
        """Return the user's spot within the backward pass (in a function or a hook), and if that is a recomputation."""
        # Without the engine on the stack this is a thread of its own, and all there is was called by it.
        return self._look(_CHECKPOINT, until=_BACKWARD)

    def in_optimizer(self) -> tuple[Spot | None, bool]:
        """Return the user's spot, and whether an optimizer's step is under way."""
        return self._look(_OPTIMIZER)

    def _look(self, wanted: int, until: int = -1) -> tuple[Spot | None, bool]:
        """Walk outwards to the frame of the kind that is wanted, none for `_TORCHS`, or to one of the kind `until`.

        Return the innermost spot outside of torch, and whether what is wanted was passed on the way.
        """
        frame: FrameType | None = sys._getframe(2)
        kinds = self._kinds
        chain: list[FrameType] = []
        own, passed = -1, not wanted
        while frame is not None:
            kind = kinds.get(id(frame.f_code), _UNKNOWN)
            if kind:
                if kind == _UNKNOWN:
                    self._codes.append(frame.f_code)
                    kind = kinds[id(frame.f_code)] = kind_of(frame.f_code)
                if kind == until:
                    break
                if kind == _OWN and own < 0:
                    own = min(len(chain), MOST_CALLERS)
                    del chain[own:]
                    chain.append(frame)
                elif kind in (_OTHERS, _OWN) and len(chain) <= MOST_CALLERS:
                    chain.append(frame)
                passed = passed or kind == wanted
                if passed and own >= 0 and len(chain) > MOST_CALLERS:
                    break
            frame = frame.f_back
        return self._spot(chain, own) if chain else None, passed

    def _spot(self, chain: Sequence[FrameType], own: int) -> Spot:
        key = tuple([number for frame in chain for number in (id(frame.f_code), frame.f_lasti)])
        spot = self._spots.get(key)
        if spot is None:
            (code, instruction), *callers = ((frame.f_code, frame.f_lasti) for frame in chain)
            spot = self._spots[key] = Spot(code, instruction, callers, own)
        return spot

    def place(self, spot: Spot | None) -> str:
        """Return the innermost line of a spot, "models.py:17"; empty if there is no spot."""
        return "" if spot is None else self._line(spot.code, spot.instruction).place

    def lines(self, spot: Spot | None) -> dict[str, Any]:
        """Return what a site says of a spot, by the names of its fields; nothing if there is no spot."""
        if spot is None:
            return {}
        innermost = self._line(spot.code, spot.instruction)
        callers = tuple(
            self._line(*caller)._replace(is_own=number == spot.own) for number, caller in enumerate(spot.callers, 1)
        )
        _, digest = self._source(spot.code.co_filename)
        place, function, text, _ = innermost
        return {"place": place, "function": function, "text": text, "source": digest, "callers": callers}

    def _line(self, code: CodeType, instruction: int) -> Line:
        number = next(
            (line for start, end, line in code.co_lines() if start <= instruction < end and line is not None),
            code.co_firstlineno,
        )
        lines = self._source(code.co_filename)[0] if self._texts else ()
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        return Line(f"{self._path(code.co_filename)}:{number}", code.co_name, text[:_LONGEST_TEXT])

    def _source(self, filename: str) -> tuple[Sequence[str], str]:
        """Read a file that code is from, once; a relative name is no path, for which Python would search others."""
        source = self._sources.get(filename)
        if source is None:
            if os.path.isabs(filename):
                linecache.checkcache(filename)  # another run of this process may have read what it was before
            is_known = os.path.isabs(filename) or filename in linecache.cache  # which has cells
            lines = linecache.getlines(filename) if is_known else []
            digest = f"{hash_of_text(''.join(lines)):016x}" if lines else ""
            source = self._sources[filename] = lines, digest
        return source

    def _path(self, filename: str) -> str:
        if spoken := cell(filename):
            return spoken
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
    if code.co_filename.startswith(_LEFT_OUT):
        return _TORCHS
    kind = {"user's": _OWN, "installed": _OTHERS}.get(whose(code.co_filename), _TORCHS)
    return _OTHERS if kind == _OWN and code.co_name in _PASSING_ON else kind
