"""What comparing two traces finds: the first records that differ, how much differs after them, and both in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import clipped
from ...ground.tables import plural
from ...values.numbers import number_from
from ..file.model import Site, Step, TraceLevel, Value

_BETWEEN_ARGUMENTS = re.compile(r", (?=[A-Za-z_]\w*=)")


@dataclass(frozen=True)
class Moment:
    """One record of a trace."""

    site: Site
    hashes: Sequence[int]  # of each of the site's values
    index: int  # which record of its segment
    part: int = 0  # which segment of its step: more where that was cut because it grew too long

    def number(self, value: int) -> int | float | bool | None:
        """Return a value that is a number by its index; None of what is none, or whose bits do not tell it."""
        return number_from(self.site.values[value].type, self.hashes[value])


@dataclass
class Divergence:
    """The first record in which two traces differ."""

    step: Step | None  # which was under way; None where it shows at the end alone
    level: TraceLevel  # at which they were compared
    segment: int = 0  # how many steps had ended before
    first: Moment | None = None  # the record in the first trace; None if that has none there
    second: Moment | None = None  # and in the second one
    values: list[int] = field(default_factory=list)  # the indexes of the first one's that differ; none where sites do
    records: int = 0  # how many the first trace has in this segment
    later_records: int = 0  # how many of those after it in this step, that both have, differ too
    later_steps: int = 0  # how many steps after this one differ too
    realigned: bool = False  # after a record that only one trace has: whether some that both have were found again
    only_first: int = 0  # how many records of this step, from here on, only the first trace has
    only_second: int = 0  # and only the second one
    has_operations: bool = False  # whether operations were recorded in this step
    optimizer: str = ""  # the class of the one that makes the step; empty if that is not known
    # After a record that only one trace has: the first that both have with other values.
    aligned: tuple[Moment, Moment] | None = None
    # One before it that differs too, and was written over before anything that is recorded read it.
    overwritten: tuple[Moment, Moment] | None = None

    @property
    def moment(self) -> Moment | None:
        """The record to show for it: the first's, or else the second's; None if there is none."""
        return self.first or self.second

    @property
    def pair(self) -> tuple[Moment, Moment] | None:
        """Both records; None where one trace has none."""
        return None if self.first is None or self.second is None else (self.first, self.second)


@dataclass
class Comparison:
    """What comparing two traces found, at the highest level that both have."""

    level: TraceLevel
    steps: int = 0  # that were compared
    divergence: Divergence | None = None  # the first difference
    ended: Step | None = None  # which was under way where a trace ends unfinished, if there is no difference before
    optimizers: int = 0
    has_operations: bool = False  # whether operations were recorded in both, with values that they gave


def argument_of(value: Value) -> str:
    """Return which argument an input is: what follows in its name is what the tensor is called."""
    return value.name.partition(" ")[0]


def corresponding(one: Site, other: Site) -> list[tuple[int, int]]:
    """Return the indexes of the values that two records both have: inputs by argument, others by their order."""

    def numbered(site: Site) -> dict[tuple[str, str, int], int]:
        seen: Counter[tuple[str, str]] = Counter()
        indices: dict[tuple[str, str, int], int] = {}
        for index, value in enumerate(site.values):
            what = value.role, argument_of(value) if value.role == "input" else ""
            indices[(*what, seen[what])] = index
            seen[what] += 1
        return indices

    others = numbered(other)
    return [(index, others[what]) for what, index in numbered(one).items() if what in others]


def differing_values(one: Moment, other: Moment) -> list[int]:
    """Return the indexes of the values of the first that the second has too, and has differently."""
    return [
        i
        for i, j in corresponding(one.site, other.site)
        if one.hashes[i] != other.hashes[j] or one.site.values[i].type != other.site.values[j].type
    ]


def and_more(names: Sequence[str], most: int) -> str:
    """Return some names, and how many there are beside."""
    rest = len(names) - most
    return f"{', '.join(names[:most])} and {rest} more" if rest > 0 else ", ".join(names)


def called(value: Value, site: Site) -> str:
    """Return what to call a value of a record: "output 1", "input weight"."""
    same_role = [other for other in site.values if other.role == value.role]
    if value.name or len(same_role) == 1:
        return " ".join(filter(None, [value.role, value.name]))
    return f"{value.role} {next(index for index, other in enumerate(same_role) if other is value)}"


def in_both(one: object, other: object) -> str:
    """Return what something was in each of two runs, in words."""
    return f"{one} in the first run, {other} in the second"


def arguments_apart(one: Site, other: Site) -> str:
    """Return which arguments two operations were given differently, and what they were."""
    before, after = (
        {name: value for name, _, value in (text.partition("=") for text in _BETWEEN_ARGUMENTS.split(site.arguments))}
        for site in (one, other)
    )
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    values = [[clipped(arguments.get(name, "not given")) for arguments in (before, after)] for name in names]
    return and_more([f"{name} was {in_both(*pair)}" for name, pair in zip(names, values, strict=True)], 3)


def types_apart(one: Site, other: Site) -> str:
    """Return which values of two records are of another type, name or number; empty if none are."""
    differences = [
        f"{called(one.values[i], one)} was {in_both(one.values[i].type, other.values[j].type)}"
        for i, j in corresponding(one, other)
        if one.values[i].type != other.values[j].type and one.values[i].name == other.values[j].name
    ]
    differences += [
        f"only the {which} run has {called(value, site)}"
        for which, site, against in (("first", one, other), ("second", other, one))
        for value in site.values
        if value.role != "input" and (value.role, value.name) not in [pair[::2] for pair in against.values]
    ]
    if not differences and len(one.values) != len(other.values):
        differences = [in_both(plural(len(one.values), "value"), len(other.values))]
    return and_more(differences, 2)
