"""Sources that fail when they are told to, wherever they stand in the list."""

from __future__ import annotations

import gc
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deterministic.ground import snapshot
from deterministic.ground.config import Config
from deterministic.ground.source import NOTHING, Applied, SourceKind
from deterministic.scope import stack
from deterministic.sources import SOURCES

from .conftest import what_changed

ERRORS = (RuntimeError, KeyboardInterrupt, SystemExit)
PLACES = range(len(SOURCES) + 1)


class Faulty:
    """A setting that counts how often it was applied, and raises what `fails` has for a method."""

    kind: SourceKind = "setting"

    def __init__(self, name: str = "faulty") -> None:
        self.name = name
        self.value = 0
        self.fails: dict[str, BaseException] = {}

    def fail(self, method: str) -> None:
        if method in self.fails:
            raise self.fails[method]

    def capture(self) -> int:
        self.fail("capture")
        return self.value

    def apply(self, config: Config) -> Applied:
        self.value += 1
        self.fail("apply")
        return NOTHING

    def restore(self, state: int) -> None:
        self.fail("restore")
        self.value = state

    def describe(self, state: int) -> dict[str, Any]:
        return {"value": state}


class Collecting(Faulty):
    """Drops the last reference to a suspended body in the middle of a transition, as the garbage collector may."""

    def __init__(self, body: Iterator[Any]) -> None:
        super().__init__("collecting")
        self.bodies = [body]

    def capture(self) -> int:
        self.bodies.clear()
        return self.value


@contextmanager
def registered(place: int, faulty: Faulty) -> Iterator[None]:
    SOURCES.insert(place, faulty)
    try:
        yield
    finally:
        SOURCES.remove(faulty)


@contextmanager
def faulty_at(place: int) -> Iterator[Faulty]:
    """Register a faulty source at `place`; afterwards nothing may be open, locked or changed, that one excepted."""
    before, handler = snapshot.capture(SOURCES), signal.getsignal(signal.SIGINT)
    lock: Any = stack.transition.lock
    faulty = Faulty()
    with registered(place, faulty):
        yield faulty
    assert not what_changed(before)
    assert not stack._entries
    assert not stack.transition.is_mine()
    assert not lock._is_owned()
    assert gc.isenabled()
    assert signal.getsignal(signal.SIGINT) is handler


def raised_by(function: Callable[[], object]) -> BaseException:
    """Return what `function` raises, without tracebacks: they keep bodies alive until the collector comes by."""
    found: list[BaseException] = []
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - it is what the test asks for
        found = [error]
    for one in found:
        one.__traceback__ = None
        found += [link for link in (one.__cause__, one.__context__) if link is not None and link not in found]
    assert found, "nothing was raised"
    return found[0]


def step_and_fail(steps: Iterator[Any], fail: Callable[[], object]) -> None:
    """Take a step of a body that calls `random.random()`, and call `fail` when it does."""

    def draw() -> float:
        fail()
        return 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "random", draw)
        next(steps)
