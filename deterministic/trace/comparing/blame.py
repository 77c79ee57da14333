"""What the headers and footers of two traces add to a cause: who seeded a generator, and which was drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .divergence import Divergence, corresponding, differing_values
from .reasons import ORDERED, Cause, Reason

Ends = tuple[Mapping[str, Any], Mapping[str, Any]]
"""The headers of two traces, or the footers, empty where a trace was not finished."""

_ENTROPY = "None"
"""The seed of `random.seed()` and `numpy.random.seed()`."""

_PYTHONS = {"python.random": "Python's generator (random)", "numpy.random": "numpy's generator (numpy.random)"}
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
        return _of_draw(cause, divergence, headers, footers)
    if cause.reason not in ORDERED:
        return cause
    others = [name for name in headers[0].get("generators") or {} if not name.startswith("torch")]
    kind = divergence.first.site.kind if divergence.first is not None and divergence.values else ""
    if kind in ("observed", "returned"):  # no operation differs, and those tell of torch's own generators
        for name in [name for name in generators_apart(headers, footers, began_alike=False) if name in others]:
            what = cause.because if cause.reason is Reason.NUMBER else "nothing that torch computed differs"
            is_new = headers[0]["generators"][name] != headers[1]["generators"].get(name)
            how = "was in another state when the second run began" if is_new else "ended in another state"
            remedy = _SEED_FIRST if is_new else "Look for what seeds it in the run, or draws from it more often in one."
            found = Cause(Reason.GENERATOR, f"{what}; {name} was drawn from, and {how}", remedy)
            return with_seeds(found, name, footers)
    drawn = generators_apart(headers, footers, began_alike=False)
    for name in others:
        if told := _seeds_apart(name, footers):
            return replace(cause, remedy=f"The code seeded {name} {told}. {_SEED_THERE} Else: {cause.remedy}")
        if name in drawn and headers[0]["generators"][name] != headers[1]["generators"].get(name):
            who = f"{_PYTHONS.get(name, name)} was drawn from and nobody had seeded it"
            seed = f"{who}: reproducible(seed=...), or `deterministic run`, does"
            return replace(cause, remedy=f"{seed}. Else: {cause.remedy}")
    return cause


def generators_apart(headers: Ends, footers: Ends, *, began_alike: bool = True) -> list[str]:
    """Return the generators that began alike, or not but were drawn from in both, and ended differently."""
    (before_a, before_b), (after_a, after_b) = (
        [side.get("generators") or {} for side in sides] for sides in (headers, footers)
    )

    def counts(name: str) -> bool:
        if before_a[name] == before_b.get(name):
            return True
        both = after_a.get(name) != before_a[name] and after_b.get(name) not in (None, before_b.get(name))
        return both and not began_alike

    return [name for name in before_a if name in after_a and after_a[name] != after_b.get(name) and counts(name)]


def with_seeds(cause: Cause, generator: str, footers: Ends, seeds: Sequence[str] = ()) -> Cause:
    """Return a cause with the seeds that the code gave a generator, if they are not the same in both runs.

    Args:
        cause: That a generator is to blame.
        generator: "torch", "numpy.random", "python.random".
        footers: Of both.
        seeds: What torch says that they were; empty if it was not asked.
    """
    if not (told := _seeds_apart(generator, footers, seeds)):
        return cause
    remedy = _SEED_THERE if generator else cause.remedy
    return replace(cause, because=f"{cause.because}: the code seeded it {told}", remedy=remedy)


def _seeds_apart(generator: str, footers: Ends, seeds: Sequence[str] = ()) -> str:
    """Return in words the first seeds of a generator that are not the same in both runs; empty if all are."""
    ones, others = ([note for note in footer.get("seeded", ()) if note[0] == generator] for footer in footers)
    at = ""
    for (_, one, place), (_, other, _) in zip(ones, others, strict=False):
        if (one != other or one == _ENTROPY) and (not seeds or (one, other) == (*seeds,)):
            seeds, at = (one, other), f", at {place}" if place else ""
            break
    if _ENTROPY in seeds:
        return f"from the system's entropy{at}"
    if not seeds or seeds[0] == seeds[1]:
        return ""
    one, other = (seed or "nothing" for seed in seeds)
    return f"with {one} in the first run, with {other} in the second{at}"


def _of_draw(cause: Cause, divergence: Divergence, headers: Ends, footers: Ends) -> Cause:
    """Return the cause of another draw from one of torch's generators."""
    first, second = divergence.first, divergence.second
    if first is None or second is None:
        return cause
    there = dict(corresponding(first.site, second.site))
    for index in differing_values(first, second):
        one, other = first.site.values[index], second.site.values[there[index]]
        if one.role == "generator":
            seeds = [origin.removeprefix("seed").strip() for origin in (one.origin, other.origin) if origin]
            began = [(header.get("generators") or {}).get("torch.cpu") for header in headers]
            if not seeds and began[0] != began[1]:
                return cause  # it may have been drawn from before the code seeded it
            return with_seeds(cause, "torch" if one.name.startswith("default") else "", footers, seeds)
    return cause
