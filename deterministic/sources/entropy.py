"""What is done about numbers from the operating system, and seeds from the clock: numbers that no seed decides.

The policy is a setting like any other one: captured, applied and restored, so nesting, suspension and exits in any
order need nothing of their own. While there is one, what `ground.watching` lists stands in the place of the functions
through which Python, NumPy and PyTorch ask for entropy; while there is none, nothing is replaced.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy.random.bit_generator as numpy_bits

from ..errors import DeterministicError, SeedError
from ..ground import watching
from ..ground.config import Config
from ..ground.source import NOTHING, Applied, JSON, Limit, SourceKind
from ..ground.watching import Policy

_GENERATORS_UNSEEN = Limit(
    "torch.Generator",
    "A type of C++, whose methods cannot be watched in this Python: its seed() begins with a random seed.",
    'Seed it, torch.Generator().manual_seed(seed), or take run.generator("name").',
)
_NUMPY_UNSEEN = Limit(
    "numpy.random",
    "This NumPy does not ask numpy.random.bit_generator.randbits for entropy, so its unseeded generators are not seen.",
    'Pass a seed to each, for example run.derive("name").',
)


for module in watching.MODULES:
    importlib.import_module(module)  # so that it is watched whether the user has imported it by now or not
watching.reach(*watching.MODULES)


class EntropyWatch:
    """What is done where numbers come from the operating system, or seeds from the clock: `entropy=`."""

    name = "entropy"
    kind: SourceKind = "setting"

    def capture(self) -> Policy | None:
        return watching.in_effect

    def apply(self, config: Config) -> Applied:
        around, seed, mode = watching.in_effect, config.seed, config.entropy
        if around is not None:
            seed, mode = around.seed if seed is None else seed, mode or around.mode
        if mode is None:
            return NOTHING
        if mode == "ignore":
            watching.put(None)
            return Applied({"mode": None})
        if mode == "seed" and seed is None:
            remedy = "Give the scope one, for example reproducible(seed=42, entropy='seed')."
            raise SeedError('entropy="seed" has no seed to begin with', ("found: seed=None",), remedy)
        if mode == "seed" and not _numpy_asks():
            differs, remedy = 'entropy="seed" does not reach the generators of this NumPy', 'Use entropy="warn".'
            raise DeterministicError(differs, (f"found: {_NUMPY_UNSEEN.reason}",), remedy)
        policy = Policy(mode, seed, around)
        if config.seed is None and around is not None:  # nothing begins anew
            policy.given, policy.reached = around.given, around.reached
        watching.put(policy)
        return Applied({"mode": mode}, _limits(), policy.ledger)

    def restore(self, state: Policy | None) -> None:
        watching.put(state)

    def describe(self, state: Policy | None) -> dict[str, JSON]:
        if state is None:
            return {"mode": None, "seed": None}
        return {"mode": state.mode, "seed": state.seed if state.mode == "seed" else None}

    def reached(self) -> dict[str, int]:
        """Return how many seeds each line was given, for `go_on` in a run that is resumed."""
        policy = watching.in_effect
        return {} if policy is None else {**policy.reached}

    def go_on(self, reached: Mapping[str, int]) -> None:
        """Give each line the seeds that come after those."""
        policy = watching.in_effect
        if policy is not None:
            policy.given.clear()
            policy.given.update((site, itertools.count(number)) for site, number in reached.items())
            policy.reached.clear()
            policy.reached.update(reached)


@cache
def _limits() -> tuple[Limit, ...]:
    unseen = () if _numpy_asks() else (_NUMPY_UNSEEN,)
    return unseen if any(row[1] == "manual_seed" for row in watching.rows) else (*unseen, _GENERATORS_UNSEEN)


@cache
def _numpy_asks() -> bool:
    """Return whether NumPy's unseeded generators ask `bit_generator.randbits`, an internal name, for their entropy."""
    original: Any = getattr(numpy_bits, "randbits", None)
    asked: list[int] = []
    try:
        numpy_bits.randbits = lambda k: (asked.append(k), original(k))[1]  # type: ignore[attr-defined, func-returns-value]
        numpy_bits.SeedSequence()
    finally:
        numpy_bits.randbits = original  # type: ignore[attr-defined]
    return bool(asked)
