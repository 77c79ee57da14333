"""The difference of two manifests: ranked by how likely it alters bits, each with why and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import clipped, cut
from ..ground.tables import Answer, aligned, plural
from .reasons import REASON
from .tiers import LAST_THAT_ALTERS, PLACES, tier_of

_NO_FIELDS = ("schema", "created")
_MOST_SHOWN = 30
_DEEPEST = 6  # parts of a name that are looked at: in a file of others it may have millions


class FieldDifference(NamedTuple):
    """One field in which two manifests differ.

    Attributes:
        field: Its name.
        a: What the first has; None where it has none.
        b: What the second has.
        tier: 1, the likeliest to alter bits, to 8.
        is_known: Whether both know it. Where one could not find out, nothing is said of bits.
        why: How it alters bits, or why not; where it is not known, why it is not.
        remedy: What to do about it.
    """

    field: str
    a: Any
    b: Any
    tier: int
    is_known: bool
    why: str
    remedy: str

    @property
    def can_alter_bits(self) -> bool:
        """Whether it is known to differ, and of a tier that alters bits."""
        return self.is_known and self.tier <= LAST_THAT_ALTERS


@dataclass(frozen=True, repr=False)
class ManifestDiff(Answer):
    """What `Manifest.diff` found; true if something differs that can alter bits.

    Attributes:
        differences: Ranked, the likeliest to alter bits first.
    """

    differences: Sequence[FieldDifference]

    @property
    def can_alter_bits(self) -> bool:
        """Whether one of the differences can."""
        return any(one.can_alter_bits for one in self.differences)

    @property
    def exit_code(self) -> int:
        """1 if a difference can alter bits, else 0."""
        return int(self.can_alter_bits)

    def as_data(self) -> dict[str, Any]:
        found = [{**one._asdict(), "can_alter_bits": one.can_alter_bits} for one in self.differences]
        return {"can_alter_bits": self.can_alter_bits, "differences": found}

    def __bool__(self) -> bool:
        return self.can_alter_bits

    def __str__(self) -> str:
        altering = [one for one in self.differences if one.can_alter_bits]
        unknown = [one for one in self.differences if not one.is_known]
        others = [one for one in self.differences if one.is_known and not one.can_alter_bits]
        if not self.differences:
            return "the manifests agree in every field"
        heads = (
            "can alter bits",
            "less likely to alter bits",
            "that cannot be told, since one manifest does not know it",
        )
        lines = [] if altering else ["nothing differs that is known to alter bits", ""]
        for head, some in zip(heads, (altering, others, unknown), strict=True):
            if some:
                lines += [f"{plural(len(some), 'difference')} {head}", *_table(some), ""]
        return "\n".join(lines).rstrip()


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[FieldDifference]:
    """Return what two flat mappings differ in, ranked; no value and None are the same."""
    found = []
    for field in dict.fromkeys([*a, *b]):
        one, other = a.get(field), b.get(field)
        is_same = one == other and isinstance(one, bool) is isinstance(other, bool)
        if not (is_same or field in _NO_FIELDS or field.startswith(REASON)):
            row, reason = tier_of(field), _reason(a, field) or _reason(b, field)
            why = reason or row.why
            found.append((row, FieldDifference(field, one, other, row.number, not reason, why, row.remedy)))
    return [difference for _, difference in sorted(found, key=lambda pair: PLACES[pair[0]])]


def _reason(side: Mapping[str, Any], field: str) -> str:
    """Return why a side does not know a field, or all of which it is a part; empty if it knows it."""
    if side.get(field) is not None:
        return ""
    parts = field.split(".", _DEEPEST)[:_DEEPEST]
    names = [field, *(".".join(parts[:end]) for end in range(1, len(parts)))]
    return next((str(side[REASON + name]) for name in names if REASON + name in side), "")


def shown(value: Any) -> str:
    """Return a value of somebody else's as a cell: short, printable, in one line."""
    return "-" if value is None else clipped(cut(value), 40)


def _table(some: Sequence[FieldDifference]) -> list[str]:
    """Return the rows of a table, and after those that have the same in common what there is to know of them."""
    few = some[:_MOST_SHOWN]
    rows = [(f"{one.tier}", clipped(cut(one.field)[1:-1]), f"{shown(one.a)} -> {shown(one.b)}") for one in few]
    lines = []
    for one, after, row in zip(few, [*few[1:], None], aligned(rows), strict=True):
        lines.append(row)
        if after is None or _advice(after) != _advice(one):
            lines.append(f"       {_advice(one)}")
    return lines + [f"  and {len(some) - _MOST_SHOWN:,} more, all of which its JSON has"] * (len(some) > _MOST_SHOWN)


def _advice(one: FieldDifference) -> str:
    if not one.is_known:
        return clipped(cut(one.why)[1:-1], 100)
    return one.why if one.tier > LAST_THAT_ALTERS else f"{one.why}. {one.remedy}"
