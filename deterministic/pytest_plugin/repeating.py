"""`--reproducible-check N`, as pytest meets it: another loop over the phases of a test."""

from __future__ import annotations

import pytest

from .running import Running


class Repeating:
    """Runs each controlled test several times in the place of pytest's own loop, and reports it once.

    Other plugins that run a test again (pytest-rerunfailures) get no turn at these: a test whose bits differ must not
    pass because it was run until it did.

    Args:
        running: What opens the scopes.
        runs: How many times.
    """

    def __init__(self, running: Running, runs: int) -> None:
        self._running = running
        self._runs = runs

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test, if it is a function under control; leave it to pytest otherwise.

        Args:
            item: The test.
            nextitem: The one after it.
        """
        if not isinstance(item, pytest.Function) or not self._running.is_controlled:
            return None
        from .check import Check

        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in Check(item, self._running, self._runs).reports(nextitem):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True
