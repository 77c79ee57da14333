"""`--reproducible-check N`: a test is run N times, with fresh fixtures, and its bits are compared."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from _pytest.outcomes import OutcomeException
from _pytest.runner import runtestprotocol

from ..scope.reproducible import reproducible
from ..trace.comparing.reasons import Reason
from ..trace.recording.torch_internals import RUNS_COMPILED
from ..verification.performing import perform
from ..verification.report import Report
from ..verification.runs import Done, FunctionTask, Plan
from ..verification.verification import Verification
from .arguments import ATTRIBUTE
from .running import WAY_OUT, Running


class _NotComparedError(Exception):
    """The first run was skipped, or failed: that is the outcome, as without the check."""


class _Ended(Exception):
    """What ended a body and is no Exception, for those that compare; a class of it is named as in the test."""

    def __init__(self, outcome: OutcomeException) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


@dataclass
class _TestTask:
    way_out: ClassVar[str] = WAY_OUT

    item: pytest.Item
    body: Callable[[], object]

    @property
    def title(self) -> str:
        return self.item.name

    def run(self) -> object:
        __tracebackhide__ = True
        try:
            result = self.body()
            # `unittest` catches what ends a method, and pytest keeps it for its report.
            for caught in getattr(self.item, "_excinfo", None) or ():
                raise caught.value
            return result
        except OutcomeException as outcome:
            raise type(type(outcome).__name__, (_Ended,), {})(outcome) from outcome  # `Failed` of pytest.fail

    def carried(self) -> Mapping[str, str]:
        """Return fingerprints of what fixtures gave, and of the variables of the module that the test names."""
        fixtures = getattr(self.item, "funcargs", None) or {}
        function: Any = getattr(self.item, "function", None)
        named = {} if function is None else FunctionTask(function).carried()
        return {**FunctionTask(lambda: None, (), fixtures).carried(), **named}


@dataclass
class Check:
    """The runs of one test, in scopes that `running` opens."""

    item: pytest.Item
    running: Running
    runs: int
    first: list[pytest.TestReport] = field(default_factory=list)  # of the first run, which are the test's
    broken: list[pytest.TestReport] = field(default_factory=list)  # of later runs whose fixtures failed

    def reports(self, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
        """Run it, compare, tear down what the next test does not need, and return the reports of a single run."""
        if not RUNS_COMPILED:
            # An older torch imports it with the first optimizer, and computes while doing so: in the first run alone.
            importlib.import_module("torch._dynamo")
        try:
            with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
                # The test has its own scope, and it stays the innermost: an omitted seed in the body is the test's.
                control = reproducible(enabled=False)
                report = Verification(self.item.name, self._run, self.runs, Path(folder), control, fresh="").report()
        except _NotComparedError:
            outcome, text = "not compared", ""
        else:
            outcome, text = report.outcome, str(_reworded(report))
        last = self._tear_down(nextitem)
        *reports, torn_down = self.first
        for phase in reports:
            if phase.when == "call":
                setattr(phase, ATTRIBUTE, [outcome, text])
                if outcome == "different":
                    phase.outcome, phase.longrepr = "failed", text
        ends = [phase for phase in (torn_down, *self.broken, last) if phase.when == "teardown" and phase.failed]
        setups = [phase for phase in self.broken if phase.when == "setup"]
        return [*reports, *setups[:1], *(ends or [torn_down])[:1]]

    def _run(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        """Run the test once, from its own fixtures to their end; its body is what is recorded."""
        done: Done | None = None

        def recorded(body: Callable[[], object]) -> None:
            __tracebackhide__ = True
            nonlocal done
            # A test returns nothing, so that every operation of it has to speak.
            every = replace(plan, level="ops+inputs", earlier=True) if plan.level == "values" else plan
            done = perform(_TestTask(self.item, body), every, on_step)
            if done.own_seed == self.running.seed:  # a method of unittest is seeded after its setUp
                done.own_seed = None
            if done.error is not None:
                raise done.error.outcome if isinstance(done.error, _Ended) else done.error

        plain, self.running.perform = self.running.perform, recorded
        try:
            # Down to what it shares with other tests, which stays.
            reports = runtestprotocol(self.item, log=False, nextitem=self.item.parent)  # type: ignore[arg-type]
        finally:
            self.running.perform = plain
        if not self.first:
            self.first = reports
            if done is None or done.error is not None:
                raise _NotComparedError
            return done
        self.broken += [report for report in reports if report.failed and report.when != "call"]
        if done is None:
            return Done(cut=("did not reach its body: its fixtures failed, or skipped it",))
        return done

    def _tear_down(self, nextitem: pytest.Item | None) -> pytest.TestReport:
        """Tear down what this test shares with tests before it and not with the next one."""
        capture: Any = self.item.config.pluginmanager.getplugin("capturemanager")

        def tear_down() -> None:
            # The hook is not called again: other plugins have put away what they keep for this test.
            with nullcontext() if capture is None else capture.item_capture("teardown", self.item):
                self.item.session._setupstate.teardown_exact(nextitem)

        reraise = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(tear_down, when="teardown", reraise=reraise)
        return pytest.TestReport.from_item_and_call(self.item, call)


def _reworded(report: Report) -> Report:
    """Return the report with a remedy for a test where the one that it has is for a function."""
    verdict = report.verdict
    if verdict is None or verdict.cause is None or verdict.cause.reason is not Reason.CARRIED_OVER:
        return report
    remedy = 'Make it in the test, or in a fixture with scope="function".'
    return replace(report, verdict=replace(verdict, cause=replace(verdict.cause, remedy=remedy)))
