"""A source that raises, wherever it stands in the list: every other one is given back, and the error names it."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from deterministic import current_run, reproducible, seed_everything
from deterministic.errors import DeterministicError, ScopeOrderWarning
from deterministic.ground import snapshot
from deterministic.sources import SOURCES

from .conftest import what_changed
from .faulty import ERRORS, PLACES, Faulty, faulty_at, raised_by, registered, step_and_fail

Body = Callable[[], object]


def with_block(body: Body) -> None:
    with reproducible(3):
        body()


def decorated_call(body: Body) -> None:
    @reproducible(3)
    def call() -> None:
        body()

    call()


def start_and_stop(body: Body) -> None:
    scope = reproducible(3)
    scope.start()
    body()
    scope.stop()


def decorated_generator(body: Body) -> None:
    @reproducible(3)
    def generate() -> Generator[None, None, None]:
        body()
        yield

    list(generate())


FORMS = (with_block, decorated_call, start_and_stop, decorated_generator)


@reproducible(3)
def two_steps() -> Generator[None, None, None]:
    random.random()
    with reproducible(4):
        yield
        random.random()
        yield


def unreachable() -> None:
    pytest.fail("the body ran")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["capture", "apply"])
@pytest.mark.parametrize("kind", ERRORS)
def test_an_entry_that_fails_raises_the_error_itself_and_gives_everything_back(
    form: Callable[[Body], None], method: str, kind: type[BaseException]
) -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            faulty.fails[method] = kind("as told")
            with pytest.raises(kind) as raised:
                form(unreachable)
            assert raised.value is faulty.fails[method]
            assert faulty.value == 0


@pytest.mark.parametrize("method", ["capture", "apply"])
def test_an_entry_that_fails_leaves_the_scope_around_it_whole(method: str) -> None:
    with faulty_at(0) as faulty, reproducible(3) as run:
        inside = snapshot.capture(SOURCES)
        faulty.fails[method] = RuntimeError("as told")
        with suppress(RuntimeError), reproducible(4):
            unreachable()
        faulty.fails.clear()
        assert not what_changed(inside)
        assert current_run() is run
    assert faulty.value == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ERRORS)
def test_a_source_that_cannot_be_restored_is_named_and_every_other_one_is_restored(
    form: Callable[[Body], None], kind: type[BaseException]
) -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            error = kind("as told")
            with pytest.raises(DeterministicError, match=f"faulty: {kind.__name__}: as told") as raised:
                form(partial(faulty.fails.update, restore=error))
            assert raised.value.__cause__ is error
            assert faulty.value == 1


def test_an_error_of_the_body_stays_behind_that_of_a_source_that_cannot_be_restored() -> None:
    error = ValueError("of the body")
    with faulty_at(3) as faulty:

        def fail() -> None:
            faulty.fails["restore"] = RuntimeError("as told")
            raise error

        with pytest.raises(DeterministicError, match="faulty") as raised:
            with_block(fail)
        assert raised.value.__context__ is error


def test_an_entry_that_fails_and_cannot_be_undone_shows_both_errors() -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            faulty.fails = {"apply": RuntimeError("first"), "restore": RuntimeError("second")}
            with pytest.raises(DeterministicError, match="faulty: RuntimeError: second") as raised:
                with_block(unreachable)
            assert raised.value.__context__ is faulty.fails["apply"]


def test_all_sources_that_cannot_be_restored_are_named() -> None:
    broken = Faulty("broken")
    with faulty_at(2) as faulty, registered(9, broken):
        with pytest.raises(DeterministicError) as raised, reproducible(3):
            faulty.fails["restore"] = broken.fails["restore"] = RuntimeError("as told")
        assert "  faulty: RuntimeError: as told\n" in str(raised.value)
        assert "  broken: RuntimeError: as told\n" in str(raised.value)


def test_out_of_order_the_last_scope_to_close_names_the_source() -> None:
    with faulty_at(5) as faulty:
        outer, inner = reproducible(3), reproducible(4)
        outer.start()
        inner.__enter__()
        faulty.fails["restore"] = RuntimeError("as told")
        with pytest.warns(ScopeOrderWarning):
            outer.stop()
        with pytest.raises(DeterministicError, match="faulty"):
            inner.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ERRORS)
def test_a_body_that_cannot_be_saved_as_it_yields_ends_with_that_error(kind: type[BaseException]) -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            steps, error = two_steps(), kind("as told")
            next(steps)
            fail = partial(faulty.fails.update, capture=error)
            assert raised_by(partial(step_and_fail, steps, fail)) is error
            assert faulty.value == 0
            assert list(steps) == []


@pytest.mark.parametrize("kind", ERRORS)
def test_a_source_that_cannot_be_restored_as_a_body_yields_is_named_and_ends_it(kind: type[BaseException]) -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            steps, error = two_steps(), kind("as told")
            raised = raised_by(partial(step_and_fail, steps, partial(faulty.fails.update, restore=error)))
            assert isinstance(raised, DeterministicError)
            assert f"faulty: {kind.__name__}: as told" in str(raised)
            assert raised.__cause__ is error
            assert list(steps) == []


def throw(steps: Generator[None, None, None]) -> None:
    thrown = ValueError("thrown in")
    try:
        steps.throw(thrown)
    finally:
        thrown.__traceback__ = None


@pytest.mark.parametrize("method", ["capture", "restore"])
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("step", [next, Generator.close, throw])
def test_a_body_that_cannot_be_resumed_raises_and_leaves_its_caller_as_it_was(
    step: Callable[[Any], object], kind: type[BaseException], method: str
) -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            steps, error = two_steps(), kind("as told")
            next(steps)
            faulty.fails[method] = error
            raised = raised_by(partial(step, steps))
            faulty.fails.clear()
            assert raised is error or (isinstance(raised, DeterministicError) and raised.__cause__ is error)
            assert faulty.value == 0


def test_seeding_everything_gives_everything_back_when_a_source_fails() -> None:
    for place in PLACES:
        with faulty_at(place) as faulty:
            faulty.fails["apply"] = RuntimeError("as told")
            with pytest.raises(RuntimeError, match="as told"):
                seed_everything(3, deterministic=True)
            assert faulty.value == 0
