"""What the headers and footers of two traces add to a cause: who seeded a generator, and which was drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .divergence import Divergence, corresponding, differing_values
from .reasons import Cause, Reason

Ends = tuple[Mapping[str, Any], Mapping[str, Any]]
"""The headers of two traces, or the footers, empty where a trace was not finished."""

_SEED_FIRST = "Seed it first: reproducible(seed=...) and `deterministic run` do, with every generator of the process."
_SEED_THERE = "Give it a fixed seed there, or leave that out, so that the seed of reproducible() holds."


def with_generators(cause: Cause, divergence: Divergence, headers: Ends, footers: Ends) -> Cause:
    """Return a cause with what is known of the generators behind it.

    Args:
        cause: What the first difference shows by itself.
        divergence: Where the two differ.
        headers: Of both.
        footers: Of both.
    """
    if cause.reason is Reason.GENERATOR:
        return _of_draw(cause, divergence, footers)
    kind = divergence.first.site.kind if divergence.first is not None and divergence.values else ""
    if kind not in ("observed", "returned") or cause.reason not in (Reason.OUTSIDE, Reason.NUMBER):
        return cause
    for name in generators_apart(headers, footers, began_alike=False):
        if not name.startswith("torch"):  # operations that draw from those are recorded
            what = cause.because if cause.reason is Reason.NUMBER else "nothing that torch computed differs"
            began = headers[0]["generators"][name] == headers[1]["generators"].get(name)
            how = "ended in another state" if began else "was in another state when the second run began"
            found = Cause(Reason.GENERATOR, f"{what}; {name} was drawn from, and {how}", _SEED_FIRST)
            return with_seeds(found, name, footers)
    return cause


def generators_apart(headers: Ends, footers: Ends, *, began_alike: bool = True) -> list[str]:
    """Return the generators that began alike, or not, were drawn from, and ended differently."""
    (before_a, before_b), (after_a, after_b) = (
        [side.get("generators") or {} for side in sides] for sides in (headers, footers)
    )
    return [
        name
        for name in before_a
        if (before_a[name] == before_b.get(name) or not (began_alike or after_a.get(name) == before_a[name]))
        and name in after_a
        and after_a[name] != after_b.get(name)
    ]


def with_seeds(cause: Cause, generator: str, footers: Ends, seeds: Sequence[str] = ()) -> Cause:
    """Return a cause with the seeds that the code gave a generator, if they are not the same in both runs.

    Args:
        cause: That a generator is to blame.
        generator: "torch", "numpy.random", "python.random".
        footers: Of both.
        seeds: What torch says that they were; empty if it was not asked.
    """
    ones, others = ([note for note in footer.get("seeded", ()) if note[0] == generator] for footer in footers)
    at = ""
    for (_, one, place), (_, other, _) in zip(ones, others, strict=False):
        if one != other or one == "None":
            seeds, at = (one, other), f", at {place}" if place else ""
            break
    if not seeds or (seeds[0] == seeds[1] != "None"):
        return cause
    told = f"the code seeded it with {seeds[0]} in the first run, with {seeds[1]} in the second"
    told = "the code seeded it from the system's entropy" if "None" in seeds else told
    return replace(cause, because=f"{cause.because}: {told}{at}", remedy=_SEED_THERE if generator else cause.remedy)


def _of_draw(cause: Cause, divergence: Divergence, footers: Ends) -> Cause:
    """Return the cause of another draw from one of torch's generators."""
    first, second = divergence.first, divergence.second
    if first is None or second is None:
        return cause
    there = dict(corresponding(first.site, second.site))
    for index in differing_values(first, second):
        one, other = first.site.values[index], second.site.values[there[index]]
        if one.role == "generator":
            seeds = [origin.removeprefix("seed ") for origin in (one.origin, other.origin) if origin]
            return with_seeds(cause, "torch" if one.name.startswith("default") else "", footers, seeds)
    return cause
