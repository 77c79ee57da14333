"""Run a script on several numbers of ranks, and find the first step after which two of them have not the same.

Importing it does not import torch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ..ground.tables import plural
from ..trace.comparing.verdict import Outcome
from ..values.distance import Elements, apart
from .isolated import control_for_job
from .launches import LaunchJob, launched
from .processes import answer_in
from .progress import ProgressCallback
from .report import Report
from .runs import Control
from .scripts import ScriptTask
from .step_lines import LINES, UNREAD, lines_of

_REMEDY = (
    "For the same on any number of ranks: deterministic.distributed.world_invariant(model), "
    "make_loader(..., global_batch_size=), and one seed for all ranks."
)
_BEGINNING = "They begin with other values: give all ranks one seed, without per_rank=True, or load the same."
_OTHERS = "The optimizer does not hold as many values there, as those inside of ZeroRedundancyOptimizer: use another."
_NOT_REPRODUCIBLE = "It differs from run to run: begin with `deterministic verify` on one number of ranks."
_BY_HAND = "Updates without an optimizer that derives from torch.optim.Optimizer are not seen."


class Difference(NamedTuple):
    """The first difference: in which line, and in which of its values, if both have such a step; and what is said."""

    line: int
    place: int | None
    step: int
    rows: dict[str, str]


def first_difference(one: Path, other: Path) -> Difference | None:
    """Return the first value that differs between two files of lines; None if none does."""
    for number, (a, b) in enumerate(zip_longest(lines_of(one), lines_of(other))):
        if a is None or b is None or a[:2] != b[:2]:
            rows = {"first difference": " - ".join(line.moment if line else "no more steps" for line in (a, b))}
            return Difference(number, None, (a or b).step, {**rows, "next": _REMEDY})
        if a.digests != b.digests:
            differ = [place for place, pair in enumerate(zip_longest(a.digests, b.digests)) if len({*pair}) > 1]
            names = max(a.names, b.names, key=len)
            rows = {"first difference": f"{names[differ[0]]}, {a.moment}", "what differs": ""}
            rows["then"] = f"{len(differ)} of {len(names)} values differ there"
            rows["next"] = _BEGINNING if a.step < 0 else _REMEDY
            if len(a.digests) != len(b.digests):
                rows["next"] = _OTHERS
            return Difference(number, differ[0], a.step, rows)
    return None


@dataclass(frozen=True, repr=False)
class WorldSizesReport(Report):
    """What was found; true if the script had the same after each step on all numbers of ranks."""

    sizes: Sequence[int] = ()  # the numbers of ranks; of those that differ these two
    difference: Difference | None = None

    def as_data(self) -> dict[str, Any]:
        found = self.difference and {"step": self.difference.step, **self.difference.rows}
        return {**super().as_data(), "world_sizes": [*self.sizes], "first_difference": found}

    @property
    def headline(self) -> str:
        *before, last = map(str, self.sizes)
        ranks = f"{', '.join(before)} and {last} ranks"
        if self.difference is not None:
            step = f"at step {self.difference.step} of {self.steps}" if self.difference.step >= 0 else "before step 0"
            return f"not the same on {ranks}: {self.title} differs first {step}"
        if self.outcome == "same":
            return f"the same on {ranks}: {self.title}, {self.steps} step{'' if self.steps == 1 else 's'} each"
        return f"could not tell whether {self.title} is the same on {ranks}"

    def __str__(self) -> str:
        first, *rest = super().__str__().splitlines()
        rows = self.difference.rows.items() if self.difference else ()
        return "\n".join([first, *(f"  {name:<16}  {text}" for name, text in rows if text), *rest])


@dataclass
class WorldSizes:
    """A script that is run on several numbers of ranks, one after the other, until one differs from the first."""

    task: ScriptTask
    sizes: Sequence[int]  # the numbers of ranks, two or more, each once
    folder: Path  # where the ranks leave what they have
    control: Control = True
    timeout: float | None = None  # seconds after which it is ended on any number of ranks; None: never
    progress: ProgressCallback = lambda what, steps: None
    _seconds: list[float] = field(default_factory=list)
    _steps: int = 0

    def report(self) -> WorldSizesReport:
        """Run it, and return what was found; a NotRunnableError says that there is no such script."""
        unread: dict[str, None] = {}
        first: Path | None = None
        for number, size in enumerate(self.sizes):
            began = time.monotonic()
            ranks, why = self._run(size, f"run {number + 1} of {len(self.sizes)}")
            self._seconds.append(time.monotonic() - began)
            first, steps = first or ranks, 0
            for line in [] if why else lines_of(ranks / LINES):
                steps += line.step >= 0
                unread |= {name: None for name, digest in zip(*line[2:], strict=True) if digest == UNREAD}
            if not steps:
                why = why or ["no optimizer made a step", _BY_HAND]
                return self._found("could not tell", [f"on {plural(size, 'rank')}: {why[0]}", *why[1:]])
            self._steps = self._steps or steps
            if difference := first_difference(first / LINES, ranks / LINES):
                pair = {self.sizes[0]: first, size: ranks}
                notes = self._closer(difference, pair)
                return self._found("different", (), notes, sizes=[*pair], difference=difference)
        if unread:
            return self._found("could not tell", [f"{name} has no fingerprint" for name in unread])
        return self._found("same")

    def _run(self, size: int, what: str, keep: tuple[int, int] | None = None) -> tuple[Path, list[str]]:
        self.progress(what, 0)
        folder = self.folder / f"{size}{'-again' if keep else ''}"
        folder.mkdir()
        return launched(LaunchJob(size, self.task, control_for_job(self.control), keep), folder, self.timeout)

    def _closer(self, difference: Difference, pair: Mapping[int, Path]) -> list[str]:
        """Run both once more, up to where they differ, to tell how far apart they are; return what is to be noted."""
        notes, kept = [], []
        for size, ranks in pair.items() if difference.place is not None else ():
            again, why = self._run(size, f"{plural(size, 'rank')}, again", (difference.line, difference.place or 0))
            digests, value = answer_in(again) or (None, None)
            if digests is None:
                notes.append(
                    f"run again, on {plural(size, 'rank')}: {why[0] if why else 'it did not come to this step'}"
                )
            elif digests != next(islice(lines_of(ranks / LINES), difference.line, None)).digests:
                notes.append(f"run again, on {plural(size, 'rank')}: other values than before. {_NOT_REPRODUCIBLE}")
            kept.append(value)
        difference.rows["what differs"] = _distance(kept)
        later = [*self.sizes][self.sizes.index([*pair][1]) + 1 :]
        return [*notes, *([f"not tried: {', '.join(map(str, later))} ranks"] if later else [])]

    def _found(
        self, outcome: Outcome, reasons: Sequence[str] = (), notes: Sequence[str] = (), **own: Any
    ) -> WorldSizesReport:
        common = (self.task.title, outcome, len(self._seconds), self._steps, self._seconds, None, reasons, notes)
        return WorldSizesReport(*common, **{"sizes": self.sizes, **own})


def _distance(kept: Sequence[Elements | None]) -> str:
    """Return what two values are, and how far apart; empty if they are not known."""
    kinds = [f"{one.name}[{', '.join(map(str, one.shape))}]" for one in kept if one is not None]
    return "; ".join(filter(None, [" and ".join(dict.fromkeys(kinds)), apart(*kept)])) if len(kinds) == 2 else ""
