"""Which of how many processes this is, in a distributed run."""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple, TypeVar

from ..errors import DeterministicError, value_error

T = TypeVar("T")


class Ranks(NamedTuple):
    """This process's rank, 0 <= rank < world_size, and how many there are."""

    rank: int = 0
    world_size: int = 1


def current_ranks() -> Ranks:
    """Return the ranks of torch.distributed where it is initialised, else of the variables RANK and WORLD_SIZE.

    With neither, this is the only process; a DeterministicError says that the variables hold no ranks.
    """
    if process_group_exists():
        import torch.distributed

        return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    world_size = os.environ.get("WORLD_SIZE", "1")
    rank = os.environ.get("RANK", "0" if world_size == "1" else "")
    if not rank.isdecimal() or not world_size.isdecimal() or not int(rank) < int(world_size):
        raise DeterministicError(
            "the variables RANK and WORLD_SIZE do not say which process this is",
            (
                f"found: RANK={rank or 'not set'}, WORLD_SIZE={world_size}",
                "expected: 0 <= RANK < WORLD_SIZE, or neither",
            ),
            "Start with torchrun, initialise torch.distributed first, or unset both.",
        )
    return Ranks(int(rank), int(world_size))


def the_ranks() -> Ranks:
    """Return this process's rank and how many there are: those that can wait for each other, in a process group."""
    return current_ranks() if process_group_exists() else Ranks()


def gather(value: T, ranks: Ranks | None = None) -> list[T]:
    """Return what each of these ranks has given, which are this one alone or, by default, all; each must call it."""
    size = (ranks or the_ranks()).world_size
    if size == 1:
        return [value]
    import torch.distributed

    values: list[Any] = [None] * size
    torch.distributed.all_gather_object(values, value)
    return values


def current_rank() -> int:
    """Return the rank alone, which a launcher may set without WORLD_SIZE; raise a ValueError if RANK holds none."""
    if process_group_exists():
        return current_ranks().rank
    rank = os.environ.get("RANK", "0")
    if not rank.isdecimal():
        raise value_error(
            "per_rank=True needs this process's rank, and the variable RANK holds none",
            (f"found: RANK={rank!r}", "expected: 0, 1, 2, ..."),
            "Start with torchrun, initialise torch.distributed before entering, or unset RANK.",
        )
    return int(rank)


def ranks_are_said() -> bool:
    """Return whether a launcher that told the number of ranks has also told which one this is."""
    return ranks_are_final() or os.environ.get("WORLD_SIZE", "1") == "1"


def ranks_are_final() -> bool:
    """Return whether it is settled which rank this is; else torch.distributed may yet be initialised with many."""
    return process_group_exists() or "RANK" in os.environ


def process_group_exists() -> bool:
    """Return whether torch.distributed is initialised; does not import it."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
