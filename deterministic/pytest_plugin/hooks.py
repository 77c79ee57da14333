"""The hooks, and the fixture: what pytest calls, handed on to whoever does it."""

from __future__ import annotations

import functools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from .arguments import MARKER, add_options, arguments_of, settings_of, validate_markers
from .repeating import Repeating
from .running import Running
from .summary import Summary

if TYPE_CHECKING:
    from ..scope.run import Run

_RUNNING = pytest.StashKey[Running]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the ini file.

    Args:
        parser: pytest's.
    """
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, before anything is collected.

    Args:
        config: pytest's.
    """
    config.addinivalue_line(
        "markers",
        f"{MARKER}(seed=42, deterministic=True, num_threads=None, enabled=True): run the test and its fixtures from "
        "this seed, with this level of determinism, and give everything back afterwards; as reproducible() does",
    )
    settings = settings_of(config)
    config.stash[_RUNNING] = Running(settings)
    config.pluginmanager.register(Summary(config, settings), "deterministic-summary")
    if settings.check is not None:
        config.pluginmanager.register(Repeating(config.stash[_RUNNING], settings.check), "deterministic-check")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse markers that are wrong before the first test runs; under pytest-xdist before the test itself runs.

    Args:
        config: pytest's.
        items: All tests that were collected.
    """
    for item in items:
        try:
            validate_markers(item)
        except pytest.UsageError as error:
            if not hasattr(config, "workerinput"):
                raise
            # A worker of pytest-xdist that ends while it collects leaves nothing but an internal error behind.
            config.stash[_RUNNING].refused[item.nodeid] = str(error)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which fixtures controlled tests ask for, since a test that is not may be the first to have one set up.

    Args:
        session: pytest's.
    """
    running = session.config.stash[_RUNNING]
    for item in session.items:
        if item.nodeid not in running.refused and arguments_of(item, running.settings) is not None:
            running.wider.update(getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """Enclose all that is done for a test, its reruns by other plugins too.

    Args:
        item: The test.
        nextitem: The one after it.
    """
    __tracebackhide__ = True
    with item.config.stash[_RUNNING].protocol(item):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose marker was refused where pytest could not be ended for it, before anything is set up.

    Args:
        item: The test.
    """
    refused = item.config.stash[_RUNNING].refused.get(item.nodeid)
    if refused is not None:
        pytest.fail(refused, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Set a fixture up from a seed of its own.

    Args:
        fixturedef: The fixture.
        request: Who asks for it.
    """
    __tracebackhide__ = True
    with request.config.stash[_RUNNING].fixture(fixturedef, request):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Seed right before the body, inside of whatever the other plugins do before it.

    pytest-randomly seeds in the hook itself, after every wrapper of it; what is called last is `item.runtest`, for
    functions, `unittest` methods, doctests and items of other plugins alike.

    Args:
        item: The test.
    """
    __tracebackhide__ = True
    body = item.runtest
    item.runtest = functools.partial(item.config.stash[_RUNNING].call, body)  # type: ignore[assignment, method-assign]
    try:
        return (yield)
    finally:
        del item.runtest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Seed right before the fixtures of the test are torn down.

    Args:
        item: The test.
    """
    __tracebackhide__ = True
    item.config.stash[_RUNNING].before_teardown()
    return (yield)


@pytest.fixture
def reproducible_run(request: pytest.FixtureRequest) -> Run:
    """The `deterministic.Run` of this test's scope; without a marker the test is run as if it had one.

    Args:
        request: Who asks for it.
    """
    return request.config.stash[_RUNNING].run()
