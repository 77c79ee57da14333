"""What was asked of a scope, as a frozen record, and the levels of determinism."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple, TypeAlias, cast

from . import levels
from .arguments import choice, count
from .entropy import EntropyMode

Level: TypeAlias = Literal[False, "cudnn", True, "warn"]
LEVELS, LEVEL_NAMES = cast("dict[Level, str]", levels.LEVELS), cast("dict[str, Level]", levels.LEVEL_NAMES)


class Omitted(Enum):
    """The value of an argument that was not given, where None means something else."""

    OMITTED = "omitted"

    def __repr__(self) -> str:
        return "<omitted>"


OMITTED = Omitted.OMITTED


class Config(NamedTuple):
    """What one entry applies; every source reads the part that is its own."""

    seed: int | None = None  # the effective one, 0 <= seed < 2**64; None leaves the generators where they are
    deterministic: Level = False
    num_threads: int | None = None  # that torch uses for one CPU operation; None leaves the number alone
    allow_nondeterministic: bool = False  # the scoped opt-out: deterministic algorithms off, everything else as it is
    # With `per_rank`, the seed that this rank's own was derived from: what ranks must agree on (the order of a loader)
    # comes from it. None: `seed` is the same on every rank.
    seed_of_all_ranks: int | None = None
    entropy: EntropyMode | None = None  # what is done where numbers come that no seed decides; None leaves it as it is

    @property
    def common_seed(self) -> int | None:
        """The seed that every rank of a distributed run has in common."""
        return self.seed if self.seed_of_all_ranks is None else self.seed_of_all_ranks

    @property
    def applies_cudnn(self) -> bool:
        return self.deterministic is not False

    @property
    def applies_algorithms(self) -> bool:
        return self.deterministic is True or self.deterministic == "warn"

    @property
    def warn_only(self) -> bool:
        """Whether an op without a deterministic algorithm warns instead of raising."""
        return self.deterministic == "warn"


def validate_level(deterministic: object) -> Level:
    """Return `deterministic` as a level; raise a TypeError that names the levels if it is none."""
    return choice("deterministic", deterministic, LEVELS, what="not a level", error=TypeError)


def validate_num_threads(num_threads: object) -> int | None:
    """Return a number of threads as a positive int, or None; raise as `count`."""
    if num_threads is None:
        return None
    return count("num_threads", num_threads, least=1, remedy="Pass at least 1, or None to leave the number alone.")
