"""Run a task several times, compare, and look closer where the runs first differ."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..trace.comparing.diff import diff_files
from ..trace.comparing.verdict import Outcome, Verdict
from ..values.distance import apart
from . import kept
from .progress import ProgressCallback
from .ranks import finding, gather, verifying_ranks, with_findings
from .remarks import (
    carried_over,
    done_once,
    made_by_dataset,
    not_compared,
    notes_on,
    output_apart,
    replay_failed,
    unless_known,
    unseen_work,
)
from .report import Report
from .runs import Control, Done, Plan, Runner
from .scripts import NotRunnableError

REPLAYS = 3
"""How often two runs are replayed to see them differ again, before the verdict is that of the first pass."""


@dataclass
class _Repetition:
    number: int
    path: Path
    done: Done

    @property
    def name(self) -> str:
        return f"run {self.number + 1}"


@dataclass
class Verification:
    """One verification: its repetitions, and what they showed."""

    title: str
    run: Runner
    runs: int  # how many repetitions there are to be, 2 or more
    folder: Path  # where the traces go
    control: Control = True
    progress: ProgressCallback = lambda what, steps: None
    compares_output: bool = False  # compare what the runs printed, which lies beside their traces
    # What the caller can pass to have each run in a process of its own; "": nothing does that; None: each has one.
    fresh: str | None = None
    _is_ahead: bool = True
    """Record the operations at the beginning of a run that has a process of its own: to run it again costs more."""
    _output: list[str] = field(default_factory=list)
    _repetitions: list[_Repetition] = field(default_factory=list)

    def report(self) -> Report:
        """Run it, until two runs differ or all have been made, and return what was found; of several ranks on any.

        What the first run raised it raises: there is nothing to compare with.
        """
        report = self._report()
        return with_findings(report, self._take_part(None, finding(report)))

    def _take_part(self, own: Sequence[Any] | None, found: Sequence[Any] | None) -> list[Any]:
        """Make the runs that other ranks need, until it is the turn of this rank's own, or no rank needs any.

        One that does not take part in a run would leave the others waiting in a collective. Return what each rank has
        found; None of one that has not yet.
        """
        while True:
            everyones = gather([own, found])
            wanted = next((one for one, _ in everyones if one is not None), None)
            if wanted is None or wanted == own:
                return [of_rank for _, of_rank in everyones]
            number, level, segment, ahead, keep, earlier = wanted
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                plan = Plan(Path(folder, "other.trace"), self.control, level, segment, ahead, keep, earlier)
                self.run(number, plan, lambda steps: None)

    def _report(self) -> Report:
        verdict = self._first_pass()
        if verdict is not None and verdict.outcome == "different":
            verdict = self._closer(verdict)
        for path in self.folder.glob(f"run*{kept.SUFFIX}"):
            path.unlink()
        reasons = self._why_not(verdict)
        outcome: Outcome = "could not tell" if reasons else "same"
        if verdict is not None and verdict.outcome == "different":
            outcome, reasons = "different", []
        differs = ""
        if self._output and outcome != "different":
            differs, outcome = "" if reasons else self._output.pop(0), "could not tell"
            reasons = [*reasons, *self._output, "If it prints times and the like, --ignore-output leaves that out."]
        noted = verdict.notes if verdict is not None and verdict.outcome == "same" else ()
        notes = notes_on([r.done for r in self._repetitions], _steps(verdict))
        varied = [f"{r.name} had other conditions: {r.done.varied}" for r in self._repetitions if r.done.varied]
        rank, size = verifying_ranks()
        return Report(
            title=self.title if size == 1 else f"{self.title} on rank {rank}",
            outcome=outcome,
            runs=len(self._repetitions),
            steps=_steps(verdict),
            seconds=[repetition.done.seconds for repetition in self._repetitions],
            verdict=verdict,
            reasons=reasons,
            notes=[*notes, *noted, *made_by_dataset(verdict), *self._beside(outcome), *varied],
            traces={r.name: r.path for r in self._repetitions if r.path.exists()},
            differs=differs,
        )

    def _first_pass(self) -> Verdict | None:
        """Run all repetitions, and return the first verdict that is not "same"; operations are not compared."""
        verdict = None
        for number in range(self.runs):
            repetition = self._whole(number)
            done = repetition.done
            if number == 0 and done.error is not None:
                raise done.error
            self._repetitions.append(repetition)
            if done.cut and (number == 0 or not repetition.path.exists()):
                break
            if number > 0:
                # Operations decide nothing where there are but some of them.
                how = {"level": "values"} if self.fresh is None else {}
                verdict = self._compare(self._repetitions[0], self._repetitions[-1], **how)
                if self.compares_output and not self._output:
                    pair = self._repetitions[0], self._repetitions[-1]
                    self._output = output_apart([r.path.with_suffix(".out") for r in pair], [r.name for r in pair])
                if verdict.outcome != "same":
                    break
                kept.forget(repetition.path)
        return verdict

    def _beside(self, outcome: Outcome) -> list[str]:
        """Return where operations differ though nothing that was compared does, as far as they were recorded ahead."""
        one, other = self._repetitions[0], self._repetitions[-1]
        if outcome == "different" or self.fresh is not None or one is other or one.done.cut or other.done.cut:
            return []
        divergence = self._compare(one, other).divergence
        is_known = divergence is not None and divergence.segment < min(one.done.ahead, other.done.ahead)
        site = divergence.moment.site if is_known and divergence and divergence.moment else None
        return [] if site is None else not_compared(site, is_same=outcome == "same")

    def _whole(self, number: int) -> _Repetition:
        path = self.folder / f"run{number + 1}.trace"
        what = f"run {number + 1} of {max(self.runs, number + 1)}"
        plan = Plan(path, self.control, more=number + 1 < self.runs)
        if self.fresh is None and self._is_ahead:
            done = self._perform(what, number, replace(plan, level="ops+inputs", ahead=True))
            if number or not done.watched or isinstance(done.error, NotRunnableError):
                return _Repetition(number, path, done)
            self._is_ahead = False
        return _Repetition(number, path, self._perform(what, number, plan))

    def _closer(self, verdict: Verdict) -> Verdict:
        """Replay the two runs up to where they differ, recording every operation of that step."""
        one, other = self._repetitions[0], self._repetitions[-1]
        verdict = self._carried(verdict, one, other)
        divergence = verdict.divergence
        if divergence is None or divergence.step is None:
            return self._once(verdict) or verdict
        segment = divergence.segment
        if segment < min(one.done.ahead, other.done.ahead):
            finer = self._compare(one, other, start=segment)
            return self._carried(self._as_in_first_pass(finer, verdict, (one, other), segment), one, other)
        for attempt in range(REPLAYS):
            pair = self._replayed((one, other), segment, attempt)
            ended = [(run.name, run.done.cut) for run in pair if run.done.cut]
            if cut := [f"{name}, replayed, {': '.join([*why[:1], *why[1:][-1:]])}" for name, why in ended]:
                remedy = "Fix what ended the replay early, and verify again."
                return replace(verdict, cause=unless_known(verdict.cause, remedy), notes=[*verdict.notes, *cut])
            finer = self._compare(*pair)
            again = finer.divergence
            both = zip((one, other), pair, strict=True)
            failed = [line for run, replay in both for line in replay_failed(run.name, run.done, replay.done)]
            if failed and (again is None or None in (again.step, again.first, again.second)):
                return replace(verdict, notes=[*verdict.notes, *failed])
            if again is None or again.step is None:
                continue
            if again.segment < segment:
                segment = again.segment  # it varies from run to run where they differ first
                continue
            return self._carried(self._as_in_first_pass(finer, verdict, pair, segment), *pair)
        note = (
            f"The step was replayed {REPLAYS} times with every operation recorded, and did not differ again: "
            "it is intermittent, or recording changes the timing that it depends on. Step and value are those of the "
            "runs that differed."
        )
        remedy = "Look for what depends on timing: threads, other processes, memory that is read before it is written."
        cause = unless_known(verdict.cause, remedy)
        return self._once(verdict) or replace(verdict, cause=cause, notes=[*verdict.notes, note])

    def _once(self, verdict: Verdict) -> Verdict | None:
        """Blame what is done once in a process, if the runs after the one that differs are the same as it."""
        other = self._repetitions[-1]
        if self.fresh is None:
            return None
        last = max(self.runs, other.number + 2)
        for number in range(other.number + 1, last):
            again = self._whole(number)
            if again.done.cut or self._compare(other, again).outcome != "same":
                return None
        return replace(verdict, cause=done_once(verdict, other.number, last, self.fresh))

    def _as_in_first_pass(self, finer: Verdict, verdict: Verdict, pair: Sequence[_Repetition], segment: int) -> Verdict:
        """Return a replay's verdict with what only whole runs tell: how many steps there are, and what ended them."""
        whole, closer = verdict.comparison, finer.comparison
        if whole is None or closer is None or whole.divergence is None or closer.divergence is None:
            return finer
        divergence = replace(closer.divergence, segment=segment, later_steps=whole.divergence.later_steps)
        comparison = replace(closer, steps=whole.steps, divergence=divergence)
        return replace(finer, comparison=comparison, notes=verdict.notes, distance=self._distance(finer, pair, segment))

    def _replayed(
        self, runs: Sequence[_Repetition], segment: int, attempt: int, keep: tuple[int, int] | None = None
    ) -> list[_Repetition]:
        """Replay two runs with every operation of a segment recorded."""
        suffix = f"replay{attempt + 1}{'' if keep is None else '.kept'}.trace"
        replays = []
        for run in runs:
            path = self.folder / f"run{run.number + 1}.{suffix}"
            what = f"{run.name} again, {f'step {segment}' if keep is None else 'one value'}"
            how: dict[str, Any] = {"keep": keep, "earlier": self.fresh is not None, "more": run is runs[0]}
            plan = Plan(path, self.control, "ops+inputs", segment, **how)
            replays.append(_Repetition(run.number, path, self._perform(what, run.number, plan)))
        return replays

    def _distance(self, verdict: Verdict, pair: Sequence[_Repetition], segment: int) -> str:
        """Measure how far apart what differs is; where it was not kept it is replayed once more."""
        divergence = verdict.divergence
        if divergence is None or divergence.first is None or not divergence.values or divergence.first.part:
            return ""  # of a step that was cut into parts, records are counted anew in each
        values = divergence.first.site.values
        index = next((index for index in divergence.values if values[index].role == "output"), divergence.values[0])
        if "[" not in values[index].type:
            return ""  # no tensor
        record = divergence.first.index
        one, other = (kept.find(run.path, segment, record, index) for run in pair)
        if one is not None and other is not None:
            return apart(one, other)
        again = self._replayed(pair, segment, 0, (record, index))
        distance = apart(*(kept.find(run.path, segment, record, index) for run in again))
        return f"{distance}, when both were run once more" if distance else ""

    def _perform(self, what: str, number: int, plan: Plan) -> Done:
        self.progress(what, 0)
        keep = None if plan.keep is None else [*plan.keep]
        self._take_part([number, plan.level, plan.segment, plan.ahead, keep, plan.earlier], None)
        return self.run(number, plan, lambda steps: self.progress(what, steps))

    def _compare(self, one: _Repetition, other: _Repetition, **how: Any) -> Verdict:
        return diff_files(one.path, other.path, (one.name, other.name), **how)

    def _carried(self, verdict: Verdict, one: _Repetition, other: _Repetition) -> Verdict:
        return carried_over(verdict, one.done, other.done, self.fresh)

    def _why_not(self, verdict: Verdict | None) -> list[str]:
        """Return why it cannot be told whether the runs are bit-exact; nothing if it can."""
        reasons = [line for r in self._repetitions if r.done.cut for line in _cut(r.name, r.done.cut)]
        if verdict is not None and verdict.outcome == "could not tell":
            reasons += verdict.notes or ["The traces could not be compared to their end."]
        return [*reasons, *unseen_work([r.done for r in self._repetitions], _steps(verdict))]


def _cut(name: str, cut: Sequence[str]) -> list[str]:
    why, *output = cut
    return [f"{name} {why}{'; the last lines of its output:' if output else ''}", *(f"  {line}" for line in output)]


def _steps(verdict: Verdict | None) -> int:
    return verdict.comparison.steps if verdict and verdict.comparison else 0
