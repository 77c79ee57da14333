"""`start()` and `stop()`: a scope without a block, for a notebook, where a cell is run again and nobody stops first."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from deterministic import current_run, reproducible
from deterministic.errors import DeterministicError, ScopeConflictError, ScopeOrderWarning
from deterministic.ground import snapshot
from deterministic.scope import stack
from deterministic.sources import SOURCES

from .conftest import what_changed
from .streams import draw, line_above, stream

SECONDS = 30


def test_starting_one_object_again_closes_the_first_and_names_both_lines() -> None:
    before, scope = snapshot.capture(SOURCES), reproducible(1)
    scope.start()
    first = line_above()
    draw()
    with pytest.warns(ScopeOrderWarning) as warned:
        scope.start()
    again = line_above()
    assert f"first: {first}\n  again: {again}" in str(warned[0].message)
    assert draw() == stream(1, 1)[0]
    scope.stop()
    assert not what_changed(before)


def test_running_the_line_of_a_cell_again_closes_what_it_had_started() -> None:
    before, scopes = snapshot.capture(SOURCES), []
    for seed in (1, 2):
        scopes.append(reproducible(seed))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scopes[-1].start()
        assert len(caught) == seed - 1
    assert draw() == stream(2, 1)[0]
    with pytest.raises(DeterministicError, match="stop\\(\\) without start"):
        scopes[0].stop()
    scopes[1].stop()
    assert not what_changed(before)


def test_stopping_what_is_not_started_is_an_error_and_leaves_blocks_alone() -> None:
    scope = reproducible(1)
    with scope as run:
        with pytest.raises(DeterministicError, match="stop\\(\\) without start"):
            scope.stop()
        assert current_run() is run


def test_a_start_that_raises_its_warning_is_no_start() -> None:
    scope = reproducible(1)
    scope.start()
    with suppress(ScopeOrderWarning):
        scope.start()
        pytest.fail("warnings are errors here")
    assert not stack._entries


def test_a_second_thread_at_the_line_of_a_start_is_refused_and_the_first_goes_on() -> None:
    def start() -> Callable[[], None]:
        scope = reproducible(1)
        scope.start()
        return scope.stop

    stop = start()
    first = draw()
    with ThreadPoolExecutor(1) as pool, pytest.raises(ScopeConflictError):
        pool.submit(start).result(SECONDS)
    assert [first, draw()] == stream(1, 2)
    stop()
