"""`diff`: two traces, or two sets of them, compared; with what their headers and footers add to a cause."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ...errors import TraceError
from ...ground.source import flat
from ...ground.synonyms import explained
from ...ground.tables import plural
from ..file.chunks import StrPath
from ..file.model import NO_OPTIMIZER
from ..file.store import TraceReader
from .compare import compare
from .divergence import Comparison, Divergence, and_more, corresponding, differing_values
from .reasons import ORDERED, RANKS, Cause, Reason, cause_of
from .verdict import Judgement, Outcome, Verdict, when

Ends = tuple[Mapping[str, Any], Mapping[str, Any]]
"""The headers of two traces, or the footers, empty where a trace was not finished."""

_Footer: TypeAlias = Mapping[str, Any] | None

_NOTHING = (
    "nothing was recorded that could be compared: no step of an optimizer, no module, no loader of make_loader, no "
    'returned value; inside of `with reproducible(...) as run:` add run.observe("loss", loss)'
)

_ENTROPY = "None"  # the seed of `random.seed()` and `numpy.random.seed()`

_PYTHONS = {"python.random": "Python's generator (random)", "numpy.random": "numpy's generator (numpy.random)"}
_SEED_FIRST = "Seed it first: reproducible(seed=...) and `deterministic run` do, with every generator of the process."
_SEED_THERE = "Give it a fixed seed there, or leave that out, so that the seed of reproducible() holds."


@dataclass(frozen=True, repr=False)
class Diff(Judgement):
    """What `diff` found; true if there is a difference, or if it could not tell.

    Attributes:
        verdicts: One for each rank; one alone where there are no ranks.
    """

    verdicts: Sequence[Verdict]

    @property
    def outcome(self) -> Outcome:
        """The worst of any rank's: "different", else "could not tell", else "same"."""
        return max((verdict.outcome for verdict in self.verdicts), key=["same", "could not tell", "different"].index)

    def __bool__(self) -> bool:
        return self.outcome != "same"

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.verdicts))

    def as_data(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "verdicts": [verdict.as_data() for verdict in self.verdicts]}


@explained('diff("a.trace", "b.trace")')
def diff(a: StrPath, b: StrPath) -> Diff:
    """Find the first difference of two traces, and why.

    They are compared at the highest level that both have, in the order in which things happened, and aligned again
    where one has a record or a step that the other has not. One segment of each is in memory at a time.

    Args:
        a: A trace that `record` wrote; where it was written by several ranks, the path that `record` was given.
        b: Another one.

    Returns:
        What was found: false where they are the same, so `assert not diff(a, b)`; print it.

    Raises:
        TraceError: One of them is no trace, is damaged, or has other hashes than the other.

    Example:
        See `record`.
    """
    pairs = _pairs(Path(a), Path(b))
    return Diff([diff_files(one, other, _short_names(one, other)) for one, other in pairs])


def diff_files(a: Path, b: Path, names: tuple[str, str], **how: Any) -> Verdict:
    """Return the verdict on two files, called by these names; `how`: the arguments of `compare`."""
    with TraceReader(a) as one, TraceReader(b) as other:
        if one.header.get("hashes") != other.header.get("hashes"):
            values = (f"{names[0]}: {one.header.get('hashes')}", f"{names[1]}: {other.header.get('hashes')}")
            remedy = "Record both with the same version of this library."
            raise TraceError("these traces have different hashes, which are never comparable", values, remedy)
        if RANKS in environment_of(one.header, other.header):
            how["level"] = "values"  # with other shares of the work, other operations run
        comparison = compare(one, other, **how)
        return judge(comparison, names, (one.header, other.header), (one.footer, other.footer))


def judge(comparison: Comparison, names: tuple[str, str], headers: Ends, footers: tuple[_Footer, _Footer]) -> Verdict:
    """Return the verdict on a comparison of two traces with these names, headers and footers."""
    environment = environment_of(*headers)
    notes = [note for name, footer in zip(names, footers, strict=True) for note in _notes(name, footer)]
    missed, unreadable = (
        and_more([*dict.fromkeys(text for footer in footers if footer for text in footer.get(key, ()))], 3)
        for key in ("not_compared", "unreadable")
    )
    if missed:
        notes.append(f"could not be compared (`fingerprint` says what can be): {missed}")
    verdict = Verdict("same", names, comparison, environment=environment, notes=notes)
    if comparison.divergence is not None:
        shown = cause_of(comparison.divergence, environment, headers[0].get("settings"))
        shown = with_generators(shown, comparison.divergence, headers, (footers[0] or {}, footers[1] or {}))
        return replace(verdict, outcome="different", cause=shown)

    def unsure(*reasons: str) -> Verdict:
        return replace(verdict, outcome="could not tell", notes=[*notes, *reasons])

    one, other = footers
    if one is None or other is None:
        step = comparison.ended
        is_known = step is not None and (step.optimizer != NO_OPTIMIZER or step.number)
        return unsure(f"everything is the same up to where it ends{f', {when(step)}' if is_known else ''}")
    if cause := _at_the_end(headers, (one, other)):
        comparison = replace(comparison, divergence=Divergence(None, comparison.level))
        return replace(verdict, outcome="different", comparison=comparison, cause=cause)
    if unreadable:
        return unsure(f"values that could not be read, so that nothing is known of them: {unreadable}")
    if one.get("raised"):
        return unsure("everything is the same up to there; what would have come after is not known")
    if not (one.get("compared") or other.get("compared") or comparison.has_operations):
        return unsure(*(() if missed else [_NOTHING]))
    return verdict


def environment_of(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs in the number of ranks, versions and settings between two headers, by name."""
    ranks = (one.get("world_size", 1), other.get("world_size", 1))
    apart: dict[str, tuple[Any, Any]] = {RANKS: ranks} if ranks[0] != ranks[1] else {}
    for part in ("versions", "settings"):
        before, after = (flat(header.get(part, {})) for header in (one, other))
        pairs = {name: (before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())}
        apart.update({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})
    return apart


def _notes(name: str, footer: Mapping[str, Any] | None) -> list[str]:
    if footer is None:
        return [f"{name} was not finished: its process was killed, or is still writing"]
    notes = [f"{name} ended with a {footer['raised']}"] if footer.get("raised") else []
    if missed := footer.get("steps_of_other_threads"):
        notes.append(f"{name}: {plural(missed, 'optimizer step')} of other threads not recorded")
    return notes


def _at_the_end(headers: Ends, footers: Ends) -> Cause | None:
    """Return why two runs differ whose records do not; None if they do not either."""
    one, other = (footer.get("raised") or "no exception" for footer in footers)
    if one != other:
        because = f"everything recorded is the same, but the first run ended with {one}, the second with {other}"
        return Cause(Reason.CONTROL_FLOW, because, "Look at what raised.")
    moved = generators_apart(headers, footers)
    if not moved:
        return None
    because = f"everything recorded is the same, but {and_more(moved, 3)} ended in another state"
    remedy = "Look for a draw that depends on time, threads or another generator; later code would see it."
    name = "torch" if moved[0].startswith("torch.") else moved[0]
    cause = with_seeds(Cause(Reason.GENERATOR, because, remedy), name, footers)
    return replace(cause, because=f"{because}: one run drew more") if cause.because == because else cause


# Who seeded a generator, and which was drawn from


def with_generators(cause: Cause, divergence: Divergence, headers: Ends, footers: Ends) -> Cause:
    """Return what the first difference shows by itself, with what is known of the generators behind it."""
    if cause.reason is Reason.GENERATOR:
        return _of_draw(cause, divergence, headers, footers)
    if cause.reason not in ORDERED:
        return cause
    before, after = (header.get("generators") or {} for header in headers)
    others = [name for name in before if not name.startswith("torch")]
    drawn = [name for name in generators_apart(headers, footers, began_alike=False) if name in others]
    kind = divergence.first.site.kind if divergence.first is not None and divergence.values else ""
    if drawn and kind in ("observed", "returned"):  # no operation differs, and those tell of torch's own generators
        what = cause.because if cause.reason is Reason.NUMBER else "nothing that torch computed differs"
        is_new = before[drawn[0]] != after.get(drawn[0])
        how = "was in another state when the second run began" if is_new else "ended in another state"
        remedy = _SEED_FIRST if is_new else "Look for what seeds it in the run, or draws from it more often in one."
        drawn_from = Cause(Reason.GENERATOR, f"{what}; {drawn[0]} was drawn from, and {how}", remedy)
        return with_seeds(drawn_from, drawn[0], footers)
    for name in others:
        if seeds := _seeds_apart(name, footers):
            return replace(cause, remedy=f"The code seeded {name} {seeds}. {_SEED_THERE} Else: {cause.remedy}")
        if name in drawn and before[name] != after.get(name):
            who = f"{_PYTHONS.get(name, name)} was used without having been seeded"
            seed = f"{who}: reproducible(seed=...), or `deterministic run`, seeds it"
            return replace(cause, remedy=f"{seed}. Else: {cause.remedy}")
    return cause


def generators_apart(headers: Ends, footers: Ends, *, began_alike: bool = True) -> list[str]:
    """Return the generators that began alike, or not but were drawn from in both, and ended differently."""
    (before_a, before_b), (after_a, after_b) = (
        [side.get("generators") or {} for side in sides] for sides in (headers, footers)
    )

    def were_drawn_from(name: str) -> bool:
        return after_a[name] != before_a[name] and after_b.get(name) not in (None, before_b.get(name))

    return [
        name
        for name in before_a
        if name in after_a and after_a[name] != after_b.get(name)
        if before_a[name] == before_b.get(name) or (not began_alike and were_drawn_from(name))
    ]


def with_seeds(cause: Cause, generator: str, footers: Ends, seeds: Sequence[str] = ()) -> Cause:
    """Return a cause with the seeds that the code gave a generator ("torch", "numpy.random"), if they are not the same.

    What torch says that they were is `seeds`, empty if it was not asked.
    """
    if not (apart := _seeds_apart(generator, footers, seeds)):
        return cause
    remedy = _SEED_THERE if generator else cause.remedy
    return replace(cause, because=f"{cause.because}: the code seeded it {apart}", remedy=remedy)


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
    if divergence.pair is None:
        return cause
    first, second = divergence.pair
    in_second = dict(corresponding(first.site, second.site))
    for index in differing_values(first, second):
        one, other = first.site.values[index], second.site.values[in_second[index]]
        if one.role == "generator":
            seeds = [origin.removeprefix("seed").strip() for origin in (one.origin, other.origin) if origin]
            began = [(header.get("generators") or {}).get("torch.cpu") for header in headers]
            if not seeds and began[0] != began[1]:
                return cause  # it may have been drawn from before the code seeded it
            return with_seeds(cause, "torch" if one.name.startswith("default") else "", footers, seeds)
    return cause


# Files and ranks


def _short_names(a: Path, b: Path) -> tuple[str, str]:
    """Return the ends of two paths, as long as it takes to tell them apart."""
    one, other = (Path(os.path.abspath(path)).parts for path in (a, b))
    for count in range(1, max(len(one), len(other)) + 1):
        if one[-count:] != other[-count:]:
            return "/".join(one[-count:]), "/".join(other[-count:])
    return a.name, b.name


def _pairs(a: Path, b: Path) -> list[tuple[Path, Path]]:
    """Return the files to compare: a pair for each rank where `record` was given these paths by several."""
    missing = [path for path in (a, b) if not path.exists()]
    if len(missing) == 1 and (files := _files_of_ranks(missing[0])):
        names = (f"found: {', '.join(file.name for file in files.values())}",)
        remedy = f"Name the file of one rank: {files[0]}. Runs of other numbers of ranks are compared at their steps."
        raise TraceError(f"{missing[0]} was written by several ranks, a file each", names, remedy)
    if len(missing) < 2:
        return [(a, b)]
    one, other = _files_of_ranks(a), _files_of_ranks(b)
    if not (one and other):
        return [(a, b)]  # reading says what is wrong with them
    if one.keys() != other.keys():
        values = tuple(f"{path}: ranks {', '.join(map(str, ranks))}" for path, ranks in ((a, one), (b, other)))
        remedy = "Compare runs with the same number of ranks, or name the files of two ranks."
        raise TraceError("these traces are of different ranks", values, remedy)
    return [(one[rank], other[rank]) for rank in one]


def _files_of_ranks(path: Path) -> dict[int, Path]:
    """Return the files that the ranks of a run wrote, which must be all of them; none if there is none."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.rank(\d+){re.escape(path.suffix)}")
    files = list(path.parent.iterdir()) if path.parent.is_dir() else []
    by_rank = {int(match[1]): file for file in files if (match := pattern.fullmatch(file.name))}
    ranks = sorted(by_rank)
    for file in by_rank.values():
        with TraceReader(file) as reader:
            world_size = reader.header.get("world_size")
        if ranks != list(range(len(ranks))) or world_size != len(ranks):
            values = (f"found: ranks {', '.join(map(str, ranks))}", f"expected: {world_size}, as {file.name} says")
            remedy = "Collect the files of all ranks of one run and of no other, or name the files of two ranks."
            raise TraceError(f"the traces of the ranks of {path} are not those of one run", values, remedy)
    return {rank: by_rank[rank] for rank in ranks}
