"""The plugins that a session has, its fixture, and what pytest-randomly calls."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from ..ground.imports import once_torch_imported
from .arguments import ATTRIBUTE, MARKER, PluginOptions, options_of
from .running import Running

if TYPE_CHECKING:
    from ..scope.run import Run

_RUNNING = pytest.StashKey[Running]()


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, before anything is collected."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(seed=42, deterministic=True, num_threads=None, enabled=True): run the test and its fixtures from "
        "this seed, with this level of determinism, and give everything back afterwards; as reproducible() does",
    )
    options = options_of(config)
    running = config.stash[_RUNNING] = Running(options)
    config.pluginmanager.register(running, "deterministic-running")
    config.pluginmanager.register(Summary(config, options), "deterministic-summary")
    if options.check is not None:
        config.pluginmanager.register(_Repeating(running, options.check), "deterministic-check")


@pytest.fixture
def reproducible_run(request: pytest.FixtureRequest) -> Run:
    """The `deterministic.Run` of this test's scope; without a marker the test is run as if it had one."""
    return request.config.stash[_RUNNING].run()


class _Repeating:
    """`--reproducible-check N`: runs each controlled test N times in the place of pytest's own loop, reported once.

    Other plugins that run a test again (pytest-rerunfailures) get no turn at these: a test whose bits differ must not
    pass because it was run until it did.
    """

    def __init__(self, running: Running, runs: int) -> None:
        self._running = running
        self._runs = runs

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test, if it is a function under control; leave it to pytest otherwise."""
        if not isinstance(item, pytest.Function) or not self._running.is_controlled:
            return None
        from .check import Check

        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in Check(item, self._running, self._runs).reports(nextitem):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


_TOLD = {
    "same": "bit-exact",
    "different": "different",
    "could not tell": "could not tell",
    "not compared": "not compared (failed or skipped)",
}


class Summary:
    """Speaks in the terminal; under pytest-xdist in the process that the user started."""

    def __init__(self, config: pytest.Config, options: PluginOptions) -> None:
        self._config = config
        self._options = options
        self._compared: dict[str, list[tuple[str, str]]] = {}

    def pytest_report_header(self) -> list[str]:
        """Say which seed every test has, and what is asked of the session; nothing if nothing is."""
        asked = []
        if self._options.every:
            level = self._options.defaults.get("deterministic", True)
            asked.append(f"seed {self._options.defaults['seed']} for every test, deterministic={level!r}")
        if self._options.check is not None:
            asked.append(f"marked tests run {self._options.check} times and are compared")
        if self._options.leaks:
            asked.append("a test that leaves a generator or setting changed fails")
        lines = [f"reproducible: {'; '.join(asked)}"] if asked else []
        has_workers = getattr(self._config.option, "tx", None) and getattr(self._config.option, "dist", "no") != "no"
        if has_workers and os.environ.get("PYTHONHASHSEED", "random") in ("", "random"):
            lines.append(
                "reproducible: PYTHONHASHSEED is not set, so each worker orders sets of strings in its own way: "
                "start pytest with PYTHONHASHSEED=0"
            )
        return lines

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, ATTRIBUTE):
            outcome, text = getattr(report, ATTRIBUTE)
            self._compared.setdefault(outcome, []).append((report.nodeid, text))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Count the outcomes, and say of which tests it could not be told: no failure, and no success either."""
        if self._options.check is None:
            return
        counts = [
            f"{len(self._compared[outcome])} {label}" for outcome, label in _TOLD.items() if outcome in self._compared
        ]
        terminalreporter.section(f"reproducible: {self._options.check} runs of each marked test")
        terminalreporter.write_line(", ".join(counts) or "no test is marked")
        for nodeid, text in self._compared.get("could not tell", []):
            terminalreporter.write_line("\n".join([f"could not tell: {nodeid}", *text.splitlines()[1:]]))


_seed_of_torch: int | None = None
"""What torch is to begin with once it is imported, as pytest-randomly said; None where nobody waits for that."""


def seed_torch(seed: int) -> None:
    """Seed torch's generators on every device; pytest-randomly calls it before each phase of each test.

    It is the entry point `pytest_randomly.random_seeder`. Touches no other generator, and initialises no device. Where
    torch is not imported yet it is left so, and seeded when it is: a test that imports torch in its body draws from
    that test's seed.

    Args:
        seed: Any integer; pytest-randomly adds checksums to its own, so that it may be 2**32 or more (see
            pytest-dev/pytest-randomly#689). torch gets it modulo 2**32, as numpy does there.
    """
    global _seed_of_torch
    is_first, _seed_of_torch = _seed_of_torch is None, seed % 2**32
    if hasattr(sys.modules.get("torch"), "default_generator"):
        from .. import sources

        _seed_now(sources)
    elif is_first:
        once_torch_imported(_seed_now)


def _seed_now(sources: ModuleType) -> None:
    from ..ground.config import Config

    for source in sources.SOURCES:
        if source.kind == "rng" and source.name.startswith("torch."):
            source.apply(Config(_seed_of_torch))
