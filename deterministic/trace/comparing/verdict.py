"""What comparing two traces found, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ...errors import clipped
from ...ground.tables import Answer, columns, plural, wrapped
from ..file.model import NO_OPTIMIZER, Line, Site, Step, TraceLevel
from .divergence import Comparison, Divergence, Moment, called, corresponding, differing_values
from .reasons import Cause

Outcome = Literal["same", "different", "could not tell"]

_EXIT_CODES: Mapping[Outcome, int] = {"same": 0, "different": 1, "could not tell": 2}

_NAME_WIDTH = 19
_WIDTH = 160  # columns of the text, but for lines of code
_LONGEST_CODE = 10_000  # columns of a line of code where there is no terminal, with its place

_MOST_TOLD = 3
_LONGEST_ENVIRONMENT = 12


class Judgement(Answer):
    """An answer with an outcome."""

    if TYPE_CHECKING:

        @property
        def outcome(self) -> Outcome: ...

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different, 2 could not tell."""
        return _EXIT_CODES[self.outcome]


@dataclass(frozen=True, repr=False)
class Verdict(Judgement):
    """What comparing two runs found.

    Attributes:
        outcome: "same", "different" or "could not tell".
        names: What the two are called.
        comparison: How much was compared, and where they first differ; None if nothing was.
        cause: Why they differ; None if they do not.
        environment: The differences of versions and settings, by name.
        notes: What the reader should know beside it.
        distance: How far apart the first differing values are, in words; empty if it was not measured.
    """

    outcome: Outcome
    names: tuple[str, str]
    comparison: Comparison | None = None
    cause: Cause | None = None
    environment: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    distance: str = ""

    @property
    def divergence(self) -> Divergence | None:
        """Where the two first differ; None if they do not."""
        return self.comparison.divergence if self.comparison is not None else None

    def as_data(self) -> dict[str, Any]:
        compared, divergence = self.comparison, self.divergence
        return {
            "outcome": self.outcome,
            "names": list(self.names),
            "level": compared.level if compared else None,
            "steps": compared.steps if compared else 0,
            "optimizers": compared.optimizers if compared else 0,
            "ended": compared.ended._asdict() if compared and compared.ended else None,
            "first_difference": None if divergence is None else _divergence_data(divergence),
            "distance": self.distance or None,
            "reason": self.cause.reason.value if self.cause else None,
            "because": self.cause.because if self.cause else None,
            "remedy": self.cause.remedy if self.cause else None,
            "environment": {name: list(pair) for name, pair in self.environment.items()},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(line for name, text in self.rows() for line in _lines(name, text))])

    def rows(self) -> list[tuple[str, str]]:
        """Return what there is to say below the headline, as names and texts."""
        divergence = self.divergence
        rows = [] if divergence is None else divergence_rows(divergence, self.distance)
        if self.cause is not None:
            rows += [("so", self.cause.because), ("next", self.cause.remedy)]
        if divergence is not None and (spread := _spread(divergence)):
            rows.append(("then", spread))
        return [*rows, *self._environment_rows(), *(("note", note) for note in self.notes)]

    def _environment_rows(self) -> list[tuple[str, str]]:
        texts = [
            f"{name}: {clipped(str(one))} / {clipped(str(other))}" for name, (one, other) in self.environment.items()
        ]
        if (rest := len(texts) - _LONGEST_ENVIRONMENT + 1) > 1:
            texts[-rest:] = [f"and {rest} more differences, which the JSON has"]
        return [("environment", text) for text in texts]

    def _headline(self) -> str:
        one, other = self.names
        if self.comparison is None or self.outcome == "could not tell":
            return f"could not tell whether {one} and {other} are the same"
        if self.comparison.divergence is None:
            steps = f", {plural(self.comparison.steps, 'step')}" if self.comparison.steps else ""
            return f"the same: {one} and {other}{steps}, compared at the level {self.comparison.level!r}"
        return f"different: {other} differs from {one} first {when(self.comparison.divergence.step, self.comparison)}"


def when(step: Step | None, comparison: Comparison | None = None) -> str:
    """Return a step in words: "at step 7 of 10", "at step 7 of optimizer 1 (SGD)" where there are several."""
    if step is None:
        return "at the end"
    divergence = comparison.divergence if comparison is not None else None
    several = step.optimizer > 0 or (comparison is not None and comparison.optimizers > 1)
    if step.optimizer != NO_OPTIMIZER and several:
        of = f" ({divergence.optimizer})" if divergence is not None and divergence.optimizer else ""
        return f"at step {step.number} of optimizer {step.optimizer}{of}"
    if step.optimizer != NO_OPTIMIZER:
        return f"at step {step.number}" + (f" of {comparison.steps}" if comparison is not None else "")
    if step.number:
        return f"after {plural(step.number, 'step')}" if several else f"after step {step.number - 1}"
    if comparison is None:
        return "in the run"  # in which no step may have ended
    if comparison.steps:
        return "before the first step"
    moment = None if divergence is None else divergence.moment
    return "at the end" if moment is None else f"at {_name(moment.site)}"


def divergence_rows(divergence: Divergence, distance: str = "") -> list[tuple[str, str]]:
    """Return what there is to say of a first difference, as names and texts."""
    first, second = divergence.first, divergence.second
    if first is None:
        return [] if second is None else _record_rows("first difference", second)
    rows = _record_rows("first difference", first, f" of {divergence.records:,}")
    if second is not None and not divergence.values:
        rows += _record_rows("instead", second)
    elif second is not None:
        if second.site.place != first.site.place or second.site.text != first.site.text:
            rows += _line(second.site, "other line")
        rows.append(("what differs", _values(divergence.level, first, second, divergence.values, distance)))
    if divergence.overwritten is not None:
        (name, what), *line = _record_rows("before it", divergence.overwritten[0])
        rows += [(name, f"{what} differs too, but was overwritten before any recorded operation read it"), *line]
    if divergence.aligned is not None:
        one, other = divergence.aligned
        rows += _record_rows("first value", one)
        rows.append(("what differs", _values(divergence.level, one, other, differing_values(one, other))))
    return rows


def _record_rows(name: str, moment: Moment, of: str = "") -> list[tuple[str, str]]:
    """Return what a record is and its lines, as rows; `of` how many, if that is told."""
    site = moment.site
    module = site.module or site.root_class
    inside = f"{module} ({site.module_class})" if site.module and site.module_class else module
    if site.phase == "backward":
        where = f"backward of {inside}" if inside else f"backward, {site.node}".removesuffix(", ")
    else:
        where = f"{site.phase} in {inside}".lstrip() if inside else site.phase
    part = f" in part {moment.part + 1} of the step" if moment.part else ""
    what = "   ".join(filter(None, [_name(site), where, f"(record {moment.index + 1:,}{of}{part})"]))
    return [(name, what), *_line(site)]


def _name(site: Site) -> str:
    """Return what a record is of, in words."""
    if site.kind == "operation":
        return site.name.removesuffix(".default")
    if site.kind in ("module", "result"):
        return site.name if site.phase == "backward" else f"result of {site.name}"
    words = {"parameter": "parameters of", "gradient": "gradients of"}
    words |= {kind: f"{kind} of" for kind in ("optimizer state", "input")}
    return f"{words.get(site.kind, site.kind)} {site.name}".rstrip()


def _line(site: Site, name: str = "line") -> list[tuple[str, str]]:
    """Return the innermost line outside of torch, and the innermost of the user's own if that is another."""
    own = next((line for line in site.callers if line.is_own), None)
    shown = [(name, Line(site.place, site.function, site.text)), ("called from", own)]
    return [(name, _shown(line)) for name, line in shown if line is not None and line.place]


def _shown(line: Line) -> str:
    place = f"{line.place} in {line.function}" if line.function else line.place
    return "   ".join(filter(None, [place, clipped(line.text, _WIDTH)]))


def _values(level: TraceLevel, one: Moment, other: Moment, differing: Sequence[int], distance: str = "") -> str:
    site, in_other = one.site, dict(corresponding(one.site, other.site))
    parts = []
    for index in differing[:_MOST_TOLD]:
        types = dict.fromkeys([site.values[index].type, other.site.values[in_other[index]].type])
        parts.append(f"{called(site.values[index], site)}, {' / '.join(types)}")
    if len(differing) > _MOST_TOLD:
        parts.append(f"and {len(differing) - _MOST_TOLD} more of {len(site.values)}")
    inputs = [index for index, value in enumerate(site.values) if value.role == "input"]
    if level == "ops+inputs" and inputs and not set(inputs) & {*differing}:
        parts.append("its inputs are identical in both runs")
    return "; ".join([*parts, *filter(None, [distance])])


def _spread(divergence: Divergence) -> str:
    """Return how much differs after the first difference; empty where nothing is after it."""
    if divergence.step is None:
        return ""
    of_step = "" if divergence.step == (NO_OPTIMIZER, 0, 0) else " of this step"
    alone = {"first": divergence.only_first, "second": divergence.only_second}
    spread = [", ".join(f"{plural(count, 'record')} only in the {run} run" for run, count in alone.items() if count)]
    if count := divergence.later_records:
        spread.append(f"{plural(count, 'later record')}{of_step} {'differs' if count == 1 else 'differ'}")
    elif divergence.realigned:
        spread.append(f"the other records{of_step} follow in the same order and are the same")
    if count := divergence.later_steps:
        spread.append(f"{plural(count, 'later step')} {'differs' if count == 1 else 'differ'}")
    return "; ".join(filter(None, spread)) or "nothing after it differs"


def _divergence_data(divergence: Divergence) -> dict[str, Any]:
    pairs = {"aligned": divergence.aligned, "overwritten": divergence.overwritten}
    return {
        **{name: value for name, value in vars(divergence).items() if name not in ("step", "first", "second")},
        "step": None if divergence.step is None else divergence.step._asdict(),
        "first": _moment_data(divergence.first),
        "second": _moment_data(divergence.second),
        **{name: pair and [*map(_moment_data, pair)] for name, pair in pairs.items()},
    }


def _moment_data(moment: Moment | None) -> dict[str, Any] | None:
    if moment is None:
        return None
    values = []
    for index, (value, bits) in enumerate(zip(moment.site.values, moment.hashes, strict=True)):
        number = moment.number(index)  # as text, for JSON has no nan
        values.append({**value._asdict(), "hash": f"{bits:016x}", "number": None if number is None else repr(number)})
    site = {**moment.site._asdict(), "callers": [line._asdict() for line in moment.site.callers]}
    return {**site, "record": moment.index, "part": moment.part, "values": values}


def _lines(name: str, text: str) -> list[str]:
    """Return a row of the text: code in one line, sentences broken where they are too long."""
    width = columns(_WIDTH) - _NAME_WIDTH - 1
    code = clipped(text, columns(_LONGEST_CODE) - _NAME_WIDTH - 1)
    lines = [code] if name == "line" else wrapped(text, most=width)
    return [
        f"  {title:<{_NAME_WIDTH - 2}} {line}" for title, line in zip([name, *[""] * len(lines)], lines, strict=False)
    ]
