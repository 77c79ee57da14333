"""Draws that leave the caller's generators alone: around a fetch in the main process, and around a user's sampler."""

from __future__ import annotations

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
from . import sample
from .keys import seed_generators

_PYTHON, _NUMPY, _TORCH = PythonRandom(), NumpyRandom(), TorchCpu()


def require_twister() -> None:
    """Put MT19937, which alone can be seeded by `numpy.random.seed`, behind `numpy.random`."""
    if type(get_bit_generator()) is not np.random.MT19937:
        set_bit_generator(np.random.MT19937(0))


class Isolated:
    """A `with` block whose draws from `random`, `numpy.random` and torch (CPU) leave those generators as they were.

    Args:
        threads: How many threads torch uses for one CPU operation inside; None leaves the number alone.
    """

    __slots__ = ("_numpy", "_python", "_sample", "_threads", "_threads_before", "_torch")

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads

    @indivisible
    def __enter__(self) -> None:
        interrupt.protect()  # outside of every scope, too, Ctrl-C must not cut the way back in two
        try:
            self._sample = sample.under_way()
            self._python, self._numpy, self._torch = _PYTHON.capture(), _NUMPY.capture(), _TORCH.capture()
            require_twister()
            if self._threads is not None:
                self._threads_before = torch.get_num_threads()
                if self._threads_before != self._threads:
                    torch.set_num_threads(self._threads)
        except BaseException:
            _unprotect()
            raise

    @indivisible
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._threads is not None and torch.get_num_threads() != self._threads_before:
                torch.set_num_threads(self._threads_before)
            _TORCH.restore(self._torch)
            _NUMPY.restore(self._numpy)
            _PYTHON.restore(self._python)
            sample.go_on(self._sample)
        finally:
            _unprotect()  # last of all: from here on an interrupt is raised at once


def _unprotect() -> None:
    interrupt.unprotect()
    if not stack.is_inside():  # another thread's scope needs no handler
        interrupt.uninstall()


class OwnStream:
    """The three generators as one piece of code sees them that is entered again and again: it goes on where it was.

    Args:
        key: What the stream is seeded with.
    """

    def __init__(self, key: int) -> None:
        self._key = key
        self._inside: tuple[Any, Any, Any] | None = None
        self._around: list[Isolated] = []

    @indivisible
    def __enter__(self) -> None:
        around = Isolated()
        around.__enter__()
        self._around.append(around)
        if self._inside is None:
            seed_generators(self._key)
        else:
            python, numpy, cpu = self._inside
            _PYTHON.restore(python)
            _NUMPY.restore(numpy)
            _TORCH.restore(cpu)

    @indivisible
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._inside = _PYTHON.capture(), _NUMPY.capture(), _TORCH.capture()
        finally:
            self._around.pop().__exit__(exc_type, exc, traceback)
