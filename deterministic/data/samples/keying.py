"""What `make_loader` adds to a DataLoader's arguments, and the seed, which may be drawn only when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from ...errors import SeedError, explain
from ...ground.ranks import current_ranks
from .fetch import Randomness

StreamState: TypeAlias = Literal["use", "ignore", "refuse"]


class LoaderSeed:
    """The seed of a loader.

    Args:
        value: 0 <= seed < 2**64; None: drawn from torch's global generator when it is first needed, as a DataLoader
            without a generator draws, so that `torch.manual_seed` decides it.
        shard: Whether the ranks share the data, so that they must have one seed.
    """

    def __init__(self, value: int | None, *, shard: bool) -> None:
        self._value = value
        self._shard = shard

    @property
    def is_drawn_later(self) -> bool:
        """Whether there is no seed yet."""
        return self._value is None

    @property
    def value(self) -> int:
        """The seed.

        Raises:
            SeedError: There is none, and drawing one would give each rank another.
        """
        if self._value is None:
            world_size = current_ranks().world_size if self._shard else 1
            if world_size > 1:
                raise SeedError(
                    explain(
                        "the ranks would each draw a seed of their own, and with it another order",
                        (f"found: no seed, {world_size} ranks", "expected: one seed for all of them"),
                        "Pass seed= to make_loader or the scope, or shard=False if every rank is to see all data.",
                    )
                )
            self._value = draw_seed(None)
        return self._value

    def adopt(self, value: int) -> None:
        """Take the seed of a saved state, where there is none yet."""
        self._value = value


@dataclass(frozen=True)
class Keying:
    """What `make_loader` adds to a DataLoader's arguments.

    Attributes:
        seed: Of the loader.
        randomness: What is seeded: every sample, or every batch.
        shard: Whether ranks share the data.
        is_global: Whether the batch size counts the samples of all ranks.
        worker_threads: How many threads torch uses for one CPU operation while fetching.
        stream_state: What a stream's own `state_dict()` is good for.
    """

    seed: LoaderSeed
    randomness: Randomness
    shard: bool
    is_global: bool
    worker_threads: int
    stream_state: StreamState = "use"


def draw_seed(generator: torch.Generator | None) -> int:
    """Draw a seed, 0 <= seed < 2**63; moves the generator (None: torch's global one) by one draw."""
    device = "cpu" if generator is None else generator.device
    drawn = torch.empty((), dtype=torch.int64, device=device).random_(generator=generator)
    return int(drawn.item())
