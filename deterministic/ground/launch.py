"""What `deterministic run` asked of this process: it comes through one environment variable, as children inherit it.

And what `seed_everything` did, which holds for the process in the same way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache

from ..errors import DeterministicError

TYPE_CHECKING = False  # importing typing would double what a script waits for here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .config import Level
    from .entropy import EntropyMode

DEFAULT_SEED = 42

VARIABLE = "DETERMINISTIC_RUN"  # holds a `Launch` as JSON
HASH_SEED = "PYTHONHASHSEED"  # what decides the order of sets of strings, and nothing that is computed

seen: dict[int | None, None] | None = None
"""The seeds that scopes were entered with, where somebody asks (`Launch.seeds_file`); None where nobody does."""

is_quiet = False  # whether this process was started with `deterministic run --quiet`
remembered: int | None = None  # the seed that `seed_everything` gave to all of this process; None where it did not
times_seeded = 0  # how often `seed_everything` was called: what is drawn again after it is drawn again on purpose


innermost_entry: Callable[[], Any] = lambda: None  # noqa: E731
"""Return the innermost entry into a scope, None without one: the stack of scopes puts its own here, for those below."""


class Launch:
    """What one `deterministic run` was asked for.

    Attributes:
        seed: What an omitted seed means; None where the command was asked not to seed.
        deterministic: The level that the process began with.
        num_threads: How many threads torch uses for one CPU operation; None leaves the number alone.
        variables: The environment variables that it set, and to what: these are not the user's own.
        seeds_file: Where to tell which seeds were used in the end, for whoever runs several; None for nobody.
        entropy: What is done where numbers come that no seed decides; None does nothing.
    """

    def __init__(
        self,
        seed: int | None = None,
        deterministic: Level = False,
        num_threads: int | None = None,
        variables: Mapping[str, str] | None = None,
        seeds_file: str | None = None,
        entropy: EntropyMode | None = None,
    ) -> None:
        self.seed, self.deterministic, self.num_threads = seed, deterministic, num_threads
        self.variables, self.seeds_file, self.entropy = variables or {}, seeds_file, entropy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Launch) and vars(self) == vars(other)

    def encode(self) -> str:
        """Return what stands in the variable."""
        return json.dumps(vars(self), sort_keys=True)


def launched() -> Launch | None:
    """Return what the `deterministic run` above this process was asked for; None without one."""
    return _decode(os.environ.get(VARIABLE, ""))


def given_seed() -> int | None:
    """Return the seed that was given to the process, by `seed_everything` or else `deterministic run`; None by none."""
    if remembered is not None:
        return remembered
    launch = launched()
    return None if launch is None else launch.seed


def default_seed() -> int:
    """Return what a seed means that nobody gave: that of `deterministic run`, else 42."""
    launch = launched()
    return DEFAULT_SEED if launch is None or launch.seed is None else launch.seed


@lru_cache(maxsize=1)
def _decode(text: str) -> Launch | None:
    if not text:
        return None
    try:
        return Launch(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise DeterministicError(
            f"the environment variable {VARIABLE} does not hold what `deterministic run` writes there",
            (f"found: {text!r}",),
            "Unset it.",
        ) from error
