"""The canary: a test that leaves a source changed, or a scope open, fails and is named."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

# Read when torch is loaded, here and in what the tests start: threads that wait for work in a loop, as they do else,
# take half of the processor from each other where there are more of them than cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Read when a process starts, so by the workers of pytest-xdist: memory in huge pages, of which a fork copies the tables
# in a part of the time; hundreds of tests fork.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")

import torch
from hypothesis import settings

from deterministic.ground import launch, snapshot
from deterministic.scope import stack
from deterministic.sources import SOURCES

from . import properties, warm

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C, and some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.load_profile(properties.PROFILE)


@pytest.fixture(scope="session", autouse=True)
def first_environment() -> Mapping[str, str]:
    """The variables of the environment with which the first test begins."""
    return dict(os.environ)


@pytest.fixture(scope="module", autouse=True)
def environment_of_module() -> Iterator[None]:
    """Give the environment back, which packages change for good when they are first imported: also by a fixture."""
    with kept_environment():
        yield


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The same for each test."""
    with kept_environment():
        yield


@pytest.fixture(autouse=True)
def canary(environment: None) -> Iterator[None]:
    before = snapshot.capture(SOURCES)
    yield
    changed = what_changed(before)
    left_open = list(stack._entries)
    for entry in reversed(left_open):
        stack.leave(entry)
    snapshot.restore(before)
    launch.remembered = None
    assert not left_open, f"this test left scopes open: {[str(entry.site) for entry in left_open]}"
    assert not changed, f"this test left sources changed: {changed}"


@pytest.fixture(scope="session")
def inductor_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What inductor keeps beside code that it has compiled: it serves all processes of a run."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "inductor"


@pytest.fixture(scope="session")
def model_of_pythons(first_environment: Mapping[str, str]) -> Iterator[None]:
    with warm.model(first_environment) if sys.platform == "linux" else contextlib.nullcontext():
        yield


@pytest.fixture
def warm_pythons(model_of_pythons: None) -> Iterator[None]:
    """Start each Python with the hash seed 0 as a copy of one that has imported torch already: see `warm`."""
    with warm.pythons():
        yield


@contextlib.contextmanager
def kept_environment() -> Iterator[None]:
    """Set the variables of the environment in the end as they are now."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def what_changed(before: snapshot.Snapshot) -> dict[str, tuple[object, object]]:
    """Return each source whose description differs from the one captured, with both descriptions."""
    after = snapshot.capture(before)
    return {
        source.name: (source.describe(before[source]), source.describe(after[source]))
        for source in before
        if source.describe(before[source]) != source.describe(after[source])
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="run what is marked so, too: see `pytest --markers`")


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist is to keep the order that is made here
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        os.environ.pop("PYTEST_ADDOPTS", None)  # is for this command line of pytest, not for those that tests start


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave garbage until all is collected: most of what is made meanwhile stays, and would be looked through often."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for doctests in the library alone: here are none, and every helper would be imported to find that out."""
    return [file for file in (yield) if type(file) is pytest.Module]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what forks first, then the files with something slow, so that no process is busy long after the other."""
    if not config.getoption("exhaustive"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.get_closest_marker("forks") is None, item.path not in slow))


def pytest_collection_finish() -> None:
    """Keep garbage collection from what was imported and collected: in each fork it would copy all of that."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU: run `tox -e gpu`")
