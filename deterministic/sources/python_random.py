"""The generator behind the functions of Python's `random`."""

from __future__ import annotations

import hashlib
import random
from typing import Any, TypeAlias

from .._config import Config
from .base import NOTHING, Applied, JSON, Kind

State: TypeAlias = "tuple[Any, ...]"


class PythonRandom:
    """`random.seed`, `random.random` and the rest, with the cached Gaussian of `random.gauss`."""

    name = "python.random"
    kind: Kind = "rng"

    def capture(self) -> State:
        return random.getstate()

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        random.seed(config.seed)
        return Applied({"seed": config.seed})

    def restore(self, state: State) -> None:
        random.setstate(state)

    def describe(self, state: State) -> dict[str, JSON]:
        return {"digest": hashlib.blake2b(repr(state).encode(), digest_size=8).hexdigest()}

    def encode(self, state: State) -> list[Any]:
        version, words, gauss_next = state
        return [version, list(words), gauss_next]

    def decode(self, plain: list[Any]) -> State:
        version, words, gauss_next = plain
        return version, tuple(words), gauss_next
