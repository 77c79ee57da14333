"""What the plugin says of the session: a line at its head, and at its end how the comparisons came out."""

from __future__ import annotations

import os

import pytest

from .arguments import Settings

ATTRIBUTE = "reproducible_check"
"""The attribute of a report with the outcome of a comparison and its text; plain, since it may come from a worker."""

_TOLD = {
    "same": "bit-exact",
    "different": "different",
    "could not tell": "could not tell",
    "not compared": "not compared (failed or skipped)",
}


class Summary:
    """Speaks in the terminal; under pytest-xdist in the process that the user started.

    Args:
        config: pytest's.
        settings: What holds for the session.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._compared: dict[str, list[tuple[str, str]]] = {}

    def pytest_report_header(self) -> list[str]:
        """Say which seed every test has, and what is asked of the session; nothing if nothing is."""
        asked = []
        if self._settings.every:
            level = self._settings.defaults.get("deterministic", True)
            asked.append(f"seed {self._settings.defaults['seed']} for every test, deterministic={level!r}")
        if self._settings.check is not None:
            asked.append(f"marked tests run {self._settings.check} times and are compared")
        if self._settings.leaks:
            asked.append("a test that leaves a source changed fails")
        lines = [f"reproducible: {'; '.join(asked)}"] if asked else []
        if _has_workers(self._config) and os.environ.get("PYTHONHASHSEED", "random") in ("", "random"):
            lines.append(
                "reproducible: PYTHONHASHSEED is not set, so each worker orders sets of strings in its own way: "
                "start pytest with PYTHONHASHSEED=0"
            )
        return lines

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember how a comparison came out.

        Args:
            report: Of one phase of a test.
        """
        found = getattr(report, ATTRIBUTE, None)
        if found is not None:
            outcome, text = found
            self._compared.setdefault(outcome, []).append((report.nodeid, text))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Count the outcomes, and say of which tests it could not be told: that is no failure, and no success either.

        Args:
            terminalreporter: Where to write.
        """
        if self._settings.check is None:
            return
        counts = [
            f"{len(self._compared[outcome])} {told}" for outcome, told in _TOLD.items() if outcome in self._compared
        ]
        terminalreporter.section(f"reproducible: {self._settings.check} runs of each marked test")
        terminalreporter.write_line(", ".join(counts) or "no test is marked")
        for nodeid, text in self._compared.get("could not tell", []):
            terminalreporter.write_line(f"could not tell: {nodeid}")
            for line in text.splitlines()[1:]:
                terminalreporter.write_line(line)


def _has_workers(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "tx", None)) and getattr(config.option, "dist", "no") != "no"
