"""Draws that leave the caller's generators alone: around a fetch in the main process, and around a user's sampler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from ...scope import interrupt, stack
from ...scope.interrupt import indivisible
from ...sources.numpy_random import NumpyRandom
from ...sources.python_random import PythonRandom
from ...sources.torch_cpu import TorchCpu
from .keys import begin, under_way
from .states import seed_generators

_TORCH = TorchCpu()
_SOURCES: tuple[Any, ...] = (PythonRandom(), NumpyRandom(), _TORCH)


class _Block(threading.local):
    """What the innermost block on this thread does at its end, besides; None: there is no block."""

    at_end: list[Callable[[], object]] | None = None


_block = _Block()


def kept_in_block() -> list[Callable[[], object]] | None:
    """Return the list of what is done when the innermost `Isolated` of this thread ends; None outside of any."""
    return _block.at_end


def require_twister() -> None:
    """Put MT19937, which alone can be seeded by `numpy.random.seed`, behind `numpy.random`."""
    if type(get_bit_generator()) is not np.random.MT19937:
        set_bit_generator(np.random.MT19937(0))


class Isolated:
    """A `with` block whose draws from `random`, `numpy.random` and torch (CPU) leave those generators as they were.

    Torch uses so many threads for one CPU operation inside, if that is said.
    """

    __slots__ = ("_at_end", "_sample", "_states", "_threads", "_threads_before")

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads

    @indivisible
    def __enter__(self) -> None:
        interrupt.protect()  # outside of every scope, too, Ctrl-C must not cut the way back in two
        try:
            self._sample = under_way()
            self._states = [source.capture() for source in _SOURCES]
            require_twister()
            if self._threads is not None:
                self._threads_before = torch.get_num_threads()
                if self._threads_before != self._threads:
                    torch.set_num_threads(self._threads)
            self._at_end, _block.at_end = _block.at_end, []
        except BaseException:
            _unprotect()
            raise

    @indivisible
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            kept, _block.at_end = _block.at_end, self._at_end
            for put_back in reversed(kept or ()):
                put_back()
            if self._threads is not None and torch.get_num_threads() != self._threads_before:
                torch.set_num_threads(self._threads_before)
            for source, state in zip(_SOURCES, self._states, strict=True):
                source.restore(state)
            begin(*self._sample)
        finally:
            _unprotect()  # last of all: from here on an interrupt is raised at once


def _unprotect() -> None:
    interrupt.unprotect()
    if not stack.is_inside():  # another thread's scope needs no handler
        interrupt.uninstall()


def has_drawn(key: int) -> bool:
    """Return whether the global generators have moved since they were put where this key says."""
    now = [source.capture() for source in _SOURCES]
    seed_generators(key)
    before = [source.capture() for source in _SOURCES]
    for source, state in zip(_SOURCES, now, strict=True):
        source.restore(state)
    return any(
        source.describe(one) != source.describe(other) for source, one, other in zip(_SOURCES, now, before, strict=True)
    )


class OwnStream:
    """The three generators as one piece of code sees them that is entered again and again: it goes on where it was."""

    def __init__(self, key: int) -> None:
        self._key = key
        self._inside: list[Any] = []
        self._around: list[Isolated] = []

    @indivisible
    def __enter__(self) -> None:
        self._around.append(Isolated())
        self._around[-1].__enter__()
        if not self._inside:
            seed_generators(self._key)
        for source, state in zip(_SOURCES, self._inside, strict=False):
            source.restore(state)

    @indivisible
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._inside = [source.capture() for source in _SOURCES]
        finally:
            self._around.pop().__exit__(exc_type, exc, traceback)
