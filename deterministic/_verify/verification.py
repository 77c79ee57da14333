"""Run a task several times, compare, and look closer where the runs first differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch

from ..trace.compare import Moment
from ..trace.diff import diff_files
from ..trace.distance import distance_of
from ..trace.hashes import collect, hash_on_device, hash_on_host
from ..trace.reasons import Cause, Reason
from ..trace.verdict import Outcome, Verdict
from .curves import curves_of
from .report import Report
from .runs import Control, Done, Plan
from .snapshots import Snapshots

REPLAYS = 3
"""How often two runs are replayed to see them differ again, before the verdict is that of the first pass."""

MOST_WORK_ELSEWHERE = 0.5
"""The part of the processor time in child processes above which a run was not seen, if it left nothing else."""


class Runner(Protocol):
    """Runs one repetition, in this process or in one of its own."""

    def __call__(self, repetition: int, plan: Plan, on_step: Callable[[int], None]) -> Done:
        """Run a repetition, counted from 0; the same number is run under the same conditions."""


class Progress(Protocol):
    """Is told how far it is."""

    def __call__(self, what: str, steps: int) -> None:
        """Take in which run is under way, and how many steps it has made."""


def tell_nobody(what: str, steps: int) -> None:
    """Ignore how far it is."""


@dataclass
class _Repetition:
    number: int
    path: Path
    done: Done
    is_part: bool = False
    """Whether the trace begins where the segment does that was replayed."""

    @property
    def name(self) -> str:
        return f"run {self.number + 1}"


@dataclass
class Verification:
    """One verification: its repetitions, and what they showed.

    Attributes:
        title: What is run.
        run: Runs a repetition.
        runs: How many there are to be, 2 or more.
        folder: Where the traces go.
        control: See `runs.Control`.
        progress: Is told how far it is.
        snapshot_every: After how many steps a copy of a run in this process is kept, to replay from; None: never.
    """

    title: str
    run: Runner
    runs: int
    folder: Path
    control: Control = True
    progress: Progress = tell_nobody
    snapshot_every: int | None = None
    _repetitions: list[_Repetition] = field(default_factory=list)
    _snapshots: list[Snapshots] = field(default_factory=list)

    def report(self) -> Report:
        """Run it, until two runs differ or all have been made, and return what was found.

        Raises:
            Exception: What the first run raised: there is nothing to compare with.
        """
        try:
            verdict = self._first_pass()
            if verdict is not None and verdict.outcome == "different":
                verdict = self._closer(verdict)
        finally:
            for snapshots in self._snapshots:
                snapshots.close()
        reasons = self._why_not(verdict)
        outcome: Outcome = "could not tell" if reasons else "same"
        if verdict is not None and verdict.outcome == "different":
            outcome, reasons = "different", []
        noted = verdict.notes if verdict is not None and verdict.outcome == "same" else ()
        first = self._repetitions[0]
        recorded = [repetition for repetition in self._repetitions if repetition.path.exists()]
        return Report(
            title=self.title,
            outcome=outcome,
            runs=len(self._repetitions),
            steps=_steps(verdict),
            seconds=[repetition.done.seconds for repetition in self._repetitions],
            verdict=verdict,
            reasons=reasons,
            notes=[*_notes(first.done, _steps(verdict)), *noted, *self._varied(), *self._lost()],
            curves=curves_of([r.path for r in recorded], [r.name for r in recorded]),
        )

    def _first_pass(self) -> Verdict | None:
        """Run all repetitions without recording operations, and return the first verdict that is not "same"."""
        verdict = None
        for number in range(self.runs):
            path = self.folder / f"run{number + 1}.trace"
            snapshots = Snapshots(self.snapshot_every)
            self._snapshots.append(snapshots)
            plan = Plan(path, self.control, snapshots=snapshots)
            done = self._perform(f"run {number + 1} of {self.runs}", number, plan)
            if number == 0 and done.error is not None:
                raise done.error
            self._repetitions.append(_Repetition(number, path, done))
            if done.cut and (number == 0 or not path.exists()):
                break
            if number > 0:
                verdict = self._compare(self._repetitions[0], self._repetitions[-1])
                if verdict.outcome != "same":
                    break
        return verdict

    def _closer(self, verdict: Verdict) -> Verdict:
        """Replay the two runs up to where they differ, recording every operation of that step."""
        one, other = self._repetitions[0], self._repetitions[-1]
        verdict = self._carried(verdict, one, other)
        divergence = verdict.comparison.divergence if verdict.comparison else None
        if divergence is None or divergence.step is None:
            return verdict
        segment = divergence.segment
        for attempt in range(REPLAYS):
            pair = self._replayed((one, other), segment, attempt)
            if cut := [f"{r.name}, replayed, {': '.join(_ends(r.done.cut))}" for r in pair if r.done.cut]:
                return replace(verdict, notes=[*verdict.notes, *cut])
            found = self._compare(*pair)
            again = found.comparison.divergence if found.comparison else None
            if again is None or again.step is None:
                continue
            if not pair[0].is_part and again.segment < segment:
                segment = again.segment  # it varies from run to run where they differ first
                continue
            return self._carried(self._as_in_first_pass(found, verdict, pair, segment), *pair)
        note = (
            f"The step was replayed {REPLAYS} times with every operation recorded, and did not differ again: "
            "it is intermittent, or recording changes the timing that it depends on. Step and value are those of the "
            "runs that differed."
        )
        return replace(verdict, notes=[*verdict.notes, note])

    def _as_in_first_pass(self, found: Verdict, verdict: Verdict, pair: Sequence[_Repetition], segment: int) -> Verdict:
        """Return a replay's verdict with what only whole runs tell: how many steps there are, and what ended them."""
        whole, closer = verdict.comparison, found.comparison
        if whole is None or closer is None or whole.divergence is None or closer.divergence is None:
            return found
        divergence = replace(closer.divergence, segment=segment, later_steps=whole.divergence.later_steps)
        comparison = replace(closer, steps=whole.steps, divergence=divergence)
        return replace(found, comparison=comparison, notes=verdict.notes, distance=self._distance(found, pair, segment))

    def _replayed(
        self, runs: Sequence[_Repetition], segment: int, attempt: int, keep: tuple[int, int] | None = None
    ) -> list[_Repetition]:
        """Replay two runs with every operation of a segment recorded: from copies of both, else from the beginning."""
        suffix = f"replay{attempt + 1}{'' if keep is None else '.kept'}.trace"
        paths = [self.folder / f"run{run.number + 1}.{suffix}" for run in runs]
        if all(
            self._snapshots[run.number].replay({"path": str(path), "segment": segment, "keep": keep})
            for run, path in zip(runs, paths, strict=True)
        ):
            return [replace(run, path=path, is_part=True) for run, path in zip(runs, paths, strict=True)]
        found = []
        for run, path in zip(runs, paths, strict=True):
            what = f"{run.name} again, {f'step {segment}' if keep is None else 'one value'}"
            plan = Plan(path, self.control, "ops+inputs", segment, keep)
            found.append(_Repetition(run.number, path, self._perform(what, run.number, plan)))
        return found

    def _distance(self, verdict: Verdict, pair: Sequence[_Repetition], segment: int) -> str:
        """Replay once more, keeping the values themselves of the record that differs, and measure how far apart."""
        divergence = verdict.comparison.divergence if verdict.comparison else None
        if divergence is None or divergence.first is None or not divergence.values or divergence.first.part:
            return ""  # of a step that was cut into parts, records are counted anew in each
        values = divergence.first.site.values
        index = next((index for index in divergence.values if values[index].role == "output"), divergence.values[0])
        kept = [
            Path(f"{repetition.path}.pt")
            for repetition in self._replayed(pair, segment, 0, (divergence.first.index, index))
        ]
        found = distance_of(*kept)
        moments = (divergence.first, divergence.second)
        if found and not all(_is_of(path, moment, index) for path, moment in zip(kept, moments, strict=True)):
            found += " in another repetition of the two"
        return found

    def _perform(self, what: str, number: int, plan: Plan) -> Done:
        self.progress(what, 0)
        return self.run(number, plan, lambda steps: self.progress(what, steps))

    def _compare(self, one: _Repetition, other: _Repetition) -> Verdict:
        return diff_files(one.path, other.path, (one.name, other.name))

    def _carried(self, verdict: Verdict, one: _Repetition, other: _Repetition) -> Verdict:
        """Blame what was not the same when the runs began, where no better reason is known."""
        if verdict.cause is None or verdict.cause.reason not in _MAY_BE_CARRIED:
            return verdict
        before, after = one.done.carried, other.done.carried
        changed = [name for name in before if name in after and before[name] != after[name]]
        named = [name for name in changed if _is_named(name.split()[-1], verdict)]
        if not named and verdict.cause.reason is not Reason.CARRIED_OVER:
            note = f"{', '.join(changed)} had changed when {verdict.names[1]} began, which may be the reason"
            is_told = not changed or note in verdict.notes
            return verdict if is_told else replace(verdict, notes=[*verdict.notes, note])
        what = ", ".join(named or changed)
        because = f"{what} had changed when {verdict.names[1]} began: {verdict.cause.because}" if what else None
        remedy = "Build it inside the function, or pass isolate=True."
        return replace(verdict, cause=Cause(Reason.CARRIED_OVER, because or verdict.cause.because, remedy))

    def _why_not(self, verdict: Verdict | None) -> list[str]:
        """Return why it cannot be told whether the runs are bit-exact; nothing if it can."""
        reasons = [line for r in self._repetitions if r.done.cut for line in _cut(r.name, r.done.cut)]
        if verdict is not None and verdict.outcome == "could not tell":
            reasons += verdict.notes or ["The traces could not be compared to their end."]
        first = self._repetitions[0].done
        if first.is_thin and not _steps(verdict) and first.children_share > MOST_WORK_ELSEWHERE:
            reasons.append(
                f"Child processes did {first.children_share:.0%} of the work, and it was not seen: call verify in "
                "them, or return what they computed."
            )
        return reasons

    def _varied(self) -> list[str]:
        return [f"{r.name} had other conditions: {r.done.varied}" for r in self._repetitions if r.done.varied]

    def _lost(self) -> list[str]:
        return [
            f"A copy of run {number + 1} did not get to the end of the step that it was to replay: the replay began at "
            "the start instead."
            for number, snapshots in enumerate(self._snapshots)
            if snapshots.failures
        ]


def _is_of(path: Path, moment: Moment | None, index: int) -> bool:
    """Return whether a kept value is the very one that was recorded: it need not be, if it varies from run to run."""
    tensor = torch.load(path, weights_only=True)
    return moment is not None and moment.hashes[index] in collect([hash_on_host(tensor), hash_on_device(tensor)])


def _ends(lines: Sequence[str]) -> Sequence[str]:
    return lines if len(lines) == 1 else (lines[0], lines[-1])


def _cut(name: str, cut: Sequence[str]) -> list[str]:
    why, *output = cut
    return [f"{name} {why}{'; the last lines of its output:' if output else ''}", *(f"  {line}" for line in output)]


_MAY_BE_CARRIED = (
    Reason.CARRIED_OVER,
    Reason.CONTROL_FLOW,
    Reason.GENERATOR,
    Reason.NUMBER,
    Reason.OUTSIDE,
    Reason.UNKNOWN,
)


def _is_named(variable: str, verdict: Verdict) -> bool:
    """Return whether the line of the first difference names a variable: then it is no guess that it matters."""
    divergence = verdict.comparison.divergence if verdict.comparison else None
    moments = (divergence.first, divergence.second) if divergence else ()
    return any(re.search(rf"\b{variable}\b", moment.site.text) for moment in moments if moment is not None)


def _steps(verdict: Verdict | None) -> int:
    return verdict.comparison.steps if verdict and verdict.comparison else 0


def _notes(done: Done, steps: int) -> list[str]:
    notes = []
    if done.own_seed is not None:
        notes.append(f"The code seeds torch itself, with {done.own_seed}: that seed was compared, not the scope's.")
    if (steps or not done.is_thin) and done.children_share > MOST_WORK_ELSEWHERE:
        notes.append("Child processes did most of the work; what they computed was compared only as it came back.")
    return notes
