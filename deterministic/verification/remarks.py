"""What a verification says of its runs beside the difference of their traces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from ..errors import clipped
from ..trace.comparing.divergence import and_more
from ..trace.comparing.reasons import BUILD_IT, CHECK_LOADER, Cause, Reason
from ..trace.comparing.verdict import Verdict
from ..trace.file.model import Site
from .runs import Done

MOST_WORK_ELSEWHERE = 0.5
"""The part of the processor time in child processes above which a run was not seen, if it left nothing else."""

_MAY_BE = "which may be the reason"
_MAY_BE_CARRIED = (
    Reason.CARRIED_OVER,
    Reason.CONTROL_FLOW,
    Reason.GENERATOR,
    Reason.NUMBER,
    Reason.OUTSIDE,
    Reason.UNKNOWN,
)

_LONGEST_LINE = 1 << 16  # bytes of a printed line that are looked at together
_BEFORE = 30  # characters of a printed line that are shown before the first that differs


def carried_over(verdict: Verdict, one: Done, other: Done, fresh: str | None) -> Verdict:
    """Blame what was not the same when two runs began, where no better reason is known; `fresh`: see `Verification`."""
    if verdict.cause is None or verdict.cause.reason not in _MAY_BE_CARRIED:
        return verdict
    before, after = one.carried, other.carried
    changed = [name for name in before if name in after and before[name] != after[name]]
    # In a process of its own nothing is left of another run: it is what importing made, before there was a seed.
    named = [n for n in changed if fresh is not None and _is_named(re.split("[ .]", n)[-1], verdict)]
    blamed = named or changed
    had_changed = f"{and_more(blamed, 4)} had changed when {verdict.names[1]} began"
    if fresh is None:
        had_changed = f"{and_more(blamed, 4)}, made at import, before the run's seed, differed between the processes"
    notes = [note for note in verdict.notes if not note.endswith(_MAY_BE)]
    if not named and verdict.cause.reason is not Reason.CARRIED_OVER:
        return replace(verdict, notes=[*notes, *([f"{had_changed}, {_MAY_BE}"] if changed else [])])
    because = f"{had_changed}: {verdict.cause.because}" if changed else verdict.cause.because
    if fresh is None and changed:
        remedy = "Make it inside the function, or seed before it is made."
    elif fresh and not any(name.startswith("variable ") for name in blamed):  # each process makes those anew, unseeded
        remedy = f"{BUILD_IT}, or pass {fresh}."
    else:
        remedy = f"{BUILD_IT}."
    return replace(verdict, cause=Cause(Reason.CARRIED_OVER, because, remedy), notes=notes)


def made_by_dataset(verdict: Verdict | None) -> list[str]:
    """Return how to look closer at a first difference in the code of a dataset; nothing if it is elsewhere."""
    divergence = None if verdict is None else verdict.divergence
    site = divergence.first.site if divergence and divergence.first else None
    functions = [] if site is None else [site.function, *(line.function for line in site.callers)]
    named = any(name.rpartition(".")[2] in ("__getitem__", "__getitems__") for name in functions)
    return [f"It is the code of a dataset: with make_loader, {CHECK_LOADER}"] if named else []


def _is_named(variable: str, verdict: Verdict) -> bool:
    """Return whether the line of the first difference names a variable: then it is no guess that it matters."""
    moments = (verdict.divergence.first, verdict.divergence.second) if verdict.divergence else ()
    return any(re.search(rf"\b{variable}\b", moment.site.text) for moment in moments if moment is not None)


def done_once(verdict: Verdict, early: int, last: int, fresh: str) -> Cause:
    """Return why the first runs alone differ, so many `early` ones; of those that are the same as the next, the last.

    The verdict is on the first run and the one that differs from it; `fresh`: see `Verification`.
    """
    which = "only run 1 differs" if early == 1 else f"only the first {early} runs differ"
    settings = and_more([*verdict.environment], 3)
    what = f"left changed: {settings}" if settings else "a cache, a lazy initialisation, a setting left changed"
    because = f"{which}, and runs {early + 1} to {last} are the same: something happens only once in a process ({what})"
    if verdict.cause is not None and verdict.cause.reason is not Reason.UNKNOWN:
        because += f"; {verdict.cause.because}"
    isolated = f", or pass {fresh}: if runs differ then, too, it is intermittent" if fresh else ""
    return Cause(Reason.CARRIED_OVER, because, f"Do it before the runs begin{isolated}.")


def unless_known(cause: Cause | None, remedy: str) -> Cause | None:
    """Return a cause, with another remedy if it could not be shown: here nobody can choose what is recorded."""
    return replace(cause, remedy=remedy) if cause is not None and cause.reason is Reason.UNKNOWN else cause


def replay_failed(name: str, run: Done, replay: Done) -> list[str]:
    """Return that a replay ended otherwise than its run did, and why; nothing if it did not."""
    raised, error = replay.raised, replay.error
    if raised in (None, run.raised):
        return []
    message = f"{raised}: {error}" if type(error).__name__ == raised else str(error)  # of what a process printed
    why = next((line.strip() for line in message.splitlines() if f"{raised}: " in line), raised)
    return [f"{name} failed when it was replayed with every operation recorded: {why}. Step and value are its own."]


def unseen_work(runs: Sequence[Done], steps: int) -> list[str]:
    """Return why it cannot be told what runs did that made so many steps; nothing if it can."""
    share = _work_elsewhere(runs)
    if steps or not runs[0].is_thin or share <= MOST_WORK_ELSEWHERE:
        return []
    return [
        f"Child processes did {share:.0%} of the work, which cannot be seen from here: call verify in them, or let "
        "them return what they computed."
    ]


def notes_on(runs: Sequence[Done], steps: int) -> list[str]:
    """Return what the reader should know of runs that made so many steps."""
    notes = []
    seeds = dict.fromkeys(str(done.own_seed) for done in runs if done.own_seed is not None)
    if seeds:
        at = next((f", at {done.seeded_at}" for done in runs if done.seeded_at), "")
        notes.append(
            f"The code seeds torch itself, with {' and with '.join([*seeds][:2])}{at}: that seed was compared, not the "
            "scope's."
        )
    if (steps or not runs[0].is_thin) and _work_elsewhere(runs) > MOST_WORK_ELSEWHERE:
        notes.append("Child processes did most of the work; what they computed was compared only as it came back.")
    return notes


def not_compared(site: Site, *, is_same: bool) -> list[str]:
    """Return that an operation differed, though nothing that was compared came of it: what was is the same, or none."""
    where = f"{site.name.removesuffix('.default')} at {site.place}"
    if not is_same:
        return [f"The first operation that differs is {where}."]
    return [
        f"{where} differs, and nothing that was compared depends on it. If its result matters (it is saved, say), "
        'return it, or call run.observe("name", value).'
    ]


def _work_elsewhere(runs: Sequence[Done]) -> float:
    """Return the part of the work that child processes did in every run: in one alone it may be torch's compilers."""
    return min(done.children_share for done in runs)


def output_apart(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return which printed line of two files is the first that differs, and what it is in each; nothing if none is."""
    number = 1
    with open(paths[0], "rb") as one, open(paths[1], "rb") as other:
        while True:
            lines = one.readline(_LONGEST_LINE), other.readline(_LONGEST_LINE)
            if lines[0] != lines[1]:
                shown = zip(names, _literals(*lines), strict=True)
                return [f"line {number} of its output differs", *(f"  {name}: {line}" for name, line in shown)]
            if not lines[0]:
                return []
            number += lines[0].endswith(b"\n")


def _literals(*lines: bytes) -> list[str]:
    """Return two lines as literals, from shortly before they differ."""
    one, other = (line.decode("utf-8", "backslashreplace") for line in lines)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    start = max(0, same - _BEFORE)
    return [clipped(f"{'...' if start else ''}{text[start:]!r}") for text in (one, other)]
