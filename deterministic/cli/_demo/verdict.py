"""What the demo claims, and whether its runs bear it out. Pure: it trains nothing and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SEED, OTHER_SEED = 42, 7


@dataclass(frozen=True)
class Outcome:
    """What one training run came to.

    Attributes:
        losses: Mean cross-entropy on the held-out scans before training and after every epoch, in nats.
        accuracy: The part of the held-out scans that is recognised at the end, in [0, 1].
        weights: Digest of the final weights, 16 hexadecimal digits.
    """

    losses: tuple[float, ...]
    accuracy: float
    weights: str


@dataclass(frozen=True)
class Run:
    """One run of the demo.

    Attributes:
        label: What the table calls it.
        seed: The seed of its scope; None if it was not controlled.
        outcome: What it came to.
        before: A digest of every generator and setting before the run, by name.
        after: The same when it was over.
    """

    label: str
    seed: int | None
    outcome: Outcome
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def changed(self) -> tuple[str, ...]:
        """What is not as it was before the run."""
        names = sorted(self.before.keys() | self.after.keys())
        return tuple(name for name in names if self.before.get(name) != self.after.get(name))


@dataclass(frozen=True)
class Check:
    """One claim, whether it holds, and what was found instead if it does not."""

    claim: str
    holds: bool
    found: str = ""


def judge(runs: Sequence[Run]) -> list[Check]:
    """Hold the runs against what the demo claims.

    Args:
        runs: All of them: uncontrolled ones, and controlled ones with `SEED` and with `OTHER_SEED`.

    Returns:
        The checks. Each fails if there are too few runs to tell.
    """
    free = [run for run in runs if run.seed is None]
    controlled = [run for run in runs if run.seed is not None]
    same = [run for run in runs if run.seed == SEED]
    other = [run for run in runs if run.seed == OTHER_SEED]
    leaks = [f"{run.label} changed {', '.join(run.changed)}" for run in controlled if run.changed]
    return [
        _check(
            f"the {len(same)} runs with seed {SEED} have the same bits",
            len(same) > 1 and len({run.outcome for run in same}) == 1,
            _weights(same),
        ),
        _check(
            f"the run with seed {OTHER_SEED} has others",
            bool(other) and not {run.outcome.weights for run in other} & {run.outcome.weights for run in same},
            _weights(other),
        ),
        _check(
            f"the {len(free)} uncontrolled runs all differ",
            len(free) > 1 and len({run.outcome.weights for run in free}) == len(free),
            _weights(free),
        ),
        _check(
            "every controlled run left the generators and settings as it found them",
            bool(controlled) and not leaks,
            "; ".join(leaks) or "no controlled run",
        ),
    ]


def _check(claim: str, holds: bool, found: str) -> Check:
    return Check(claim, holds, "" if holds else found)


def _weights(runs: Sequence[Run]) -> str:
    """Name what the runs came to; the loss too, since equal weights can hide a different path to them."""
    return ", ".join(f"{run.label}: {run.outcome.weights} {run.outcome.losses[-1].hex()}" for run in runs) or "no run"
