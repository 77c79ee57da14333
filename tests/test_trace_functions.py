"""A trace function that raises in the middle of a transition: no entry stays that nobody can remove."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from deterministic import reproducible
from deterministic.scope import stack


class Stop(Exception):
    """What the trace function raises."""


def raised_at(line: int, function: str, call: Callable[[], object]) -> bool:
    """Call, with a trace function that raises at a line of a function of the stack; return whether it came there."""
    seen: list[int] = []

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != function or not frame.f_code.co_filename.endswith("stack.py"):
            return None
        # Not at the line of a `with` or a `try`: Python traces these as outside of the block, and if the trace function
        # raises there it calls no __exit__.
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not text.strip().startswith(("with ", "try:")):
            seen.append(frame.f_lineno)
            if len(seen) == line:
                raise Stop
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Stop:
        return True
    finally:
        sys.settrace(before)
    return False


def enter(seed: int) -> Any:
    run = reproducible(seed).__enter__()
    return run._entry


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    """Give back what an exception in the middle of a restoration left."""
    with reproducible(seed=None):
        yield


@pytest.mark.filterwarnings("ignore::deterministic.errors.ScopeOrderWarning")
@pytest.mark.parametrize("which", [0, 1], ids=["the lower one", "the innermost one"])
def test_an_entry_that_was_being_left_can_be_left_again(which: int) -> None:
    below = len(stack._entries)
    for line in range(1, 100):
        entries = [enter(1), enter(2)]
        came = raised_at(line, "_leave", lambda: stack.leave(entries[which]))  # noqa: B023 - called at once
        for entry in reversed(entries):
            stack.leave(entry)
        assert len(stack._entries) == below
        assert not any(entry.is_open for entry in entries)
        if not came:
            break
    assert line > 5


@pytest.mark.parametrize("function", ["suspend", "resume"])
def test_the_entry_of_a_body_that_was_being_taken_off_or_put_back_can_be_left(function: str) -> None:
    below = len(stack._entries)
    for line in range(1, 100):
        outer, entry = enter(1), enter(2)
        if function == "suspend":
            came = raised_at(line, "suspend", lambda: stack.suspend(entry))  # noqa: B023
        else:
            part = stack.suspend(entry)
            came = raised_at(line, "resume", lambda: stack.resume(part))  # noqa: B023
        for one in (entry, outer):
            stack.leave(one)
        assert len(stack._entries) == below
        assert not entry.is_open
        if not came:
            break
    assert line > 5
