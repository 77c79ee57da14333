"""What a verification says of its runs beside their difference, and of differences that do not come again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..trace.comparing.reasons import Cause, Reason
from ..trace.comparing.verdict import Verdict
from ..trace.comparing.wording import and_more
from .runs import Done

MOST_WORK_ELSEWHERE = 0.5
"""The part of the processor time in child processes above which a run was not seen, if it left nothing else."""


def done_once(verdict: Verdict, early: int, last: int, fresh: str) -> Cause:
    """Return why the first runs alone differ.

    Args:
        verdict: On the first run and the one that differs from it.
        early: How many runs there were before that one.
        last: The number of the last of those, from 1, that are the same as that one.
        fresh: See `Verification`.
    """
    alone = "run 1 alone differs" if early == 1 else f"the first {early} runs alone differ"
    settings = and_more([*verdict.environment], 3)
    what = f"left changed: {settings}" if settings else "a cache, a lazy initialisation, a setting left changed"
    because = f"{alone}, and runs {early + 1} to {last} are the same: something is done once in a process ({what})"
    if verdict.cause is not None and verdict.cause.reason is not Reason.UNKNOWN:
        because += f"; {verdict.cause.because}"
    isolated = f", or pass {fresh}: if runs differ then, too, it is intermittent" if fresh else ""
    return Cause(Reason.CARRIED_OVER, because, f"Do it before the runs begin{isolated}.")


def unless_known(cause: Cause | None, remedy: str) -> Cause | None:
    """Return a cause, with another remedy if it could not be shown: here nobody can choose what is recorded."""
    return replace(cause, remedy=remedy) if cause is not None and cause.reason is Reason.UNKNOWN else cause


def unseen_work(runs: Sequence[Done], steps: int) -> list[str]:
    """Return why it cannot be told what runs did that made so many steps; nothing if it can."""
    share = _work_elsewhere(runs)
    if steps or not runs[0].is_thin or share <= MOST_WORK_ELSEWHERE:
        return []
    return [
        f"Child processes did {share:.0%} of the work, and it was not seen: call verify in them, or let them return "
        "what they computed."
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


def _work_elsewhere(runs: Sequence[Done]) -> float:
    """Return the part of the work that child processes did in every run: in one alone it may be torch's compilers."""
    return min(done.children_share for done in runs)
