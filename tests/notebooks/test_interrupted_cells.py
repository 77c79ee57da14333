"""Ctrl-C at one instant after another of a cell's beginning and end: it arrives, once, and leaves nothing open."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from deterministic import ipython

from ..keyboard import Keyboard, in_structure, interrupt_everywhere

FOLDER = ipython.__path__[0]


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    keyboard = Keyboard()
    before = signal.signal(signal.SIGINT, keyboard.handle)
    yield keyboard
    signal.signal(signal.SIGINT, before)


def in_extension(frame: FrameType) -> bool:
    return in_structure(frame) and frame.f_code.co_filename.startswith((FOLDER, "<string>"))


@pytest.mark.parametrize("on", [False, True], ids=["%%reproducible", "on"])
def test_an_interrupt_at_any_instant_leaves_nothing_open(shell: Any, keyboard: Keyboard, on: bool) -> None:
    shell.showtraceback = lambda *arguments, **options: None  # it takes most of the time
    if on:
        shell.run_cell("%reproducible on --seed 1")

    def program(keyboard: Keyboard) -> None:
        shell.run_cell("x = 1" if on else "%%reproducible --seed 1\nx = 1", silent=True)
        keyboard.settle()

    count, dirty = interrupt_everywhere(program, keyboard, in_extension, every=7)

    assert count > 100
    assert not dirty, list(dirty.items())[:5]
