"""Greenlets, of which two that both enter a scope are told apart; the library is not needed to show it."""

from __future__ import annotations

import gc
import random
import sys
from types import ModuleType
from typing import Any

import pytest

from deterministic import reproducible
from deterministic.errors import ScopeConflictError


class Greenlet:
    """What of a greenlet is looked at."""

    def __init__(self, parent: Greenlet | None = None) -> None:
        self.parent = parent
        self.dead = False


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[Greenlet]:
    """Return a list whose last greenlet is the one that runs; the first is the thread's own."""
    running = [Greenlet()]
    module: Any = ModuleType("greenlet")
    module.getcurrent = lambda: running[-1]
    monkeypatch.setitem(sys.modules, "greenlet", module)
    return running


def test_one_that_enters_inside_the_scope_of_another_is_refused(current: list[Greenlet]) -> None:
    one, other = Greenlet(current[0]), Greenlet(current[0])
    current.append(one)
    with reproducible(1), reproducible(2):
        drawn = random.getstate()
        for intruder in (other, current[0]):
            current.append(intruder)
            with pytest.raises(ScopeConflictError, match="another greenlet has a scope open"):
                reproducible(3).__enter__()
            current.pop()
        assert random.getstate() == drawn
    current.append(other)
    with reproducible(3):
        pass


def test_inside_a_scope_of_the_threads_own_they_nest(current: list[Greenlet]) -> None:
    with reproducible(1):
        for _ in range(2):
            current.append(Greenlet(current[0]))
            with reproducible(2):
                pass


@pytest.mark.filterwarnings("ignore::deterministic.errors.ScopeOrderWarning")
@pytest.mark.parametrize("how", ["has ended", "was dropped"])
def test_one_that_is_gone_is_nobodys_way(how: str, current: list[Greenlet]) -> None:
    current.append(Greenlet(current[0]))
    scope = reproducible(1)
    scope.start()
    gone = current.pop()
    if how == "has ended":
        gone.dead = True
    del gone
    gc.collect()
    with reproducible(2):
        pass
    scope.stop()


def test_a_greenlet_module_that_is_being_imported_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "greenlet", ModuleType("greenlet"))
    with reproducible(1), reproducible(2):
        pass
