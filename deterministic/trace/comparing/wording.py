"""Pieces of sentences about two records."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import clipped
from ..file.model import Site, Value
from .divergence import corresponding

_BETWEEN_ARGUMENTS = re.compile(r", (?=[A-Za-z_]\w*=)")


def plural(count: int, what: str) -> str:
    """Return "1 step" or "1,024 steps"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


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


def arguments_apart(one: Site, other: Site) -> str:
    """Return which arguments two operations were given differently, and what they were."""
    before, after = _arguments(one), _arguments(other)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    told = [
        f"{name} was {clipped(before.get(name, 'not given'))} in the first run, "
        f"{clipped(after.get(name, 'not given'))} in the second"
        for name in names
    ]
    return and_more(told, 3)


def _arguments(site: Site) -> dict[str, str]:
    pairs = (argument.partition("=") for argument in _BETWEEN_ARGUMENTS.split(site.arguments) if argument)
    return {name: value for name, _, value in pairs}


def types_apart(one: Site, other: Site) -> str:
    """Return which values of two records are of another type, name or number; empty if none are."""
    told = [
        f"{called(one.values[i], one)} was {one.values[i].type} in the first run, {other.values[j].type} in the second"
        for i, j in corresponding(one, other)
        if one.values[i].type != other.values[j].type and one.values[i].name == other.values[j].name
    ]
    told += [
        f"only the {which} run has {called(value, site)}"
        for which, site, against in (("first", one, other), ("second", other, one))
        for value in site.values
        if value.role != "input" and (value.role, value.name) not in [pair[::2] for pair in against.values]
    ]
    if not told and len(one.values) != len(other.values):
        told = [f"{plural(len(one.values), 'value')} in the first run, {len(other.values)} in the second"]
    return and_more(told, 2)
