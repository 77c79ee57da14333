"""What `verify` found."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ground.tables import details, html_table, paragraph, wrapped
from ..trace.comparing.divergence import Divergence
from ..trace.comparing.verdict import Judgement, Outcome, Verdict, when
from .curves import Curves, curves_of

if TYPE_CHECKING:
    from .plot import Picture


_LONGEST = 100_000
"""Columns of a reason or a note where there is no terminal: lines of a traceback stay whole."""


@dataclass(frozen=True, repr=False)
class Report(Judgement):
    """What `verify` found; true if the runs were bit-exact.

    Attributes:
        title: What was run.
        outcome: "same": bit-exact; "different"; "could not tell".
        runs: How many repetitions there were before the verdict.
        steps: How many optimizer steps the first had.
        seconds: How long each took.
        verdict: Where the first two runs that differ do, and why; None if none do.
        reasons: Why it could not tell; empty if it could.
        notes: What the reader should know beside it.
        traces: By the name of each run, where its trace is, as long as it is there.
        differs: What differs though no bit that was compared does: a line of the output; empty if nothing does.
        folder: What keeps the traces there as long as the report.
    """

    title: str
    outcome: Outcome
    runs: int
    steps: int
    seconds: Sequence[float]
    verdict: Verdict | None
    reasons: Sequence[str]
    notes: Sequence[str]
    traces: Mapping[str, Path] = field(default_factory=dict)
    differs: str = ""
    folder: object = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.outcome == "same"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "curves": self.curves, "folder": None}  # the traces stay with this process

    @property
    def divergence(self) -> Divergence | None:
        """Where the first two runs that differ do; None if none do."""
        return None if self.verdict is None else self.verdict.divergence

    @cached_property
    def curves(self) -> Curves:
        """What the runs can be drawn by, read from their traces when it is first asked for."""
        return curves_of(self.traces)

    def as_data(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "outcome": self.outcome,
            "runs": self.runs,
            "steps": self.steps,
            "seconds": list(self.seconds),
            "verdict": None if self.verdict is None else self.verdict.as_data(),
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "differs": self.differs,
            "numbers": [curve.as_data() for curve in self.curves.numbers],
        }

    @property
    def headline(self) -> str:
        """What was found, in one line."""
        steps = f", {self.steps} step{'' if self.steps == 1 else 's'} each" if self.steps else ""
        if self.outcome == "same":
            return f"bit-exact: {self.runs} runs of {self.title}{steps}"
        if self.differs:
            return f"the bits compared are the same, but {self.differs}: {self.runs} runs of {self.title}{steps}"
        if self.outcome == "could not tell":
            return f"could not tell whether {self.title} is bit-exact, after {self.runs} runs"
        if self.verdict is None or self.divergence is None:
            return f"not reproducible: {self.title}"
        one, other = self.verdict.names
        first = when(self.divergence.step, self.verdict.comparison)
        return f"not reproducible: {other} of {self.title} differs from {one} first {first}"

    def __str__(self) -> str:
        lines = [self.headline]
        if self.outcome == "different" and self.verdict is not None:
            lines += str(self.verdict).splitlines()[1:]  # its own headline says less
        for text in (*self.reasons, *(f"note: {note}" for note in self.notes)):
            lines += wrapped(text, "  ", _LONGEST)
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        colour = {"same": "#1a7f37", "different": "#cf222e", "could not tell": "#9a6700"}[self.outcome]
        rows = [("reason", reason) for reason in self.reasons]
        if self.outcome == "different" and self.verdict is not None:
            cause = self.verdict.cause
            rows = [(name, text) for name, text in self.verdict.rows() if cause is None or text != cause.because]
            if cause is not None:
                rows.insert(0, ("reason", f"{cause.reason.value}: {cause.because}"))
        highlighted = [index for index, (name, _) in enumerate(rows) if name == "reason"]
        rows += [("note", note) for note in self.notes]
        return "".join(
            [
                paragraph(self.headline, colour),
                html_table(rows, highlighted=highlighted),
                self._picture(),
                details("JSON", self.to_json(indent=2)),
            ]
        )

    def _picture(self) -> str:
        """Return the picture as HTML, if there is anything to draw, and matplotlib to draw it."""
        if not self.curves:
            return ""
        try:
            figure = self.plot()
        except ModuleNotFoundError:
            return ""
        # No SVG: its element names are the same in every picture of a notebook, and clip each other.
        picture = base64.b64encode(figure._repr_png_()).decode()
        return f"<img alt='where the runs differ' style='max-width:100%' src='data:image/png;base64,{picture}'>"

    def plot(self, path: str | Path | None = None) -> Picture:
        """Draw the runs' losses, and below them a map of modules by steps, coloured where the runs differ.

        A loss is what `backward()` was called on. Where none differs, or there are none, it draws the numbers that were
        observed (`Run.observe`) or that the function returned. The first difference is marked, with its line.

        Args:
            path: Where to save the picture; None: only return it.

        Returns:
            The figure, a `matplotlib.figure.Figure`.

        Raises:
            ModuleNotFoundError: matplotlib is not installed (the extra `plot`).
        """
        from .plot import draw

        figure = draw(self.curves, self.headline, differs=self.outcome == "different", divergence=self.divergence)
        if path is not None:
            figure.savefig(path)
        return figure
