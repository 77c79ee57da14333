"""Generators that belong to the user, passed to a scope as `generators=[...]`."""

from __future__ import annotations

import random
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np
import torch

from ..errors import type_error, value_error
from ..ground.config import Config
from ..ground.seeds import derive_seed
from ..ground.source import NOTHING, Applied, JSON, SourceKind
from .base import digest, numpy_state, python_state, to_plain, torch_state

Generator: TypeAlias = "torch.Generator | np.random.Generator | np.random.RandomState | random.Random"

KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""What counts as a generator of somebody's."""

GLOBAL = (torch.default_generator, random.random.__self__, np.random.mtrand._rand)  # type: ignore[attr-defined]


class OwnGenerator:
    """One generator of the user's, seeded by a key of its own: its place in the list.

    Two of these are equal when they stand for one generator, so that nested scopes that name it share its state.
    """

    kind: SourceKind = "rng"

    def __init__(self, generator: Generator, position: int) -> None:
        self.generator = generator
        self.name = f"generators[{position}]"
        self._position = position

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnGenerator) and other.generator is self.generator

    def __hash__(self) -> int:
        return id(self.generator)

    def capture(self) -> Any:
        generator = self.generator
        if isinstance(generator, torch.Generator):
            return generator.get_state()
        if isinstance(generator, random.Random):
            return generator.getstate()
        if isinstance(generator, np.random.RandomState):
            return generator.get_state(legacy=False)
        return deepcopy(generator.bit_generator.state)

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        seed = derive_seed(config.seed, "generators", self._position)
        generator = self.generator
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
        elif isinstance(generator, random.Random):
            generator.seed(seed)
        elif isinstance(generator, np.random.RandomState):
            generator.seed([seed % 2**32, seed >> 32])
        else:
            generator.bit_generator.state = type(generator.bit_generator)(seed).state
        return Applied({"seed": seed})

    def restore(self, state: Any) -> None:
        generator = self.generator
        if isinstance(generator, random.Random):
            generator.setstate(state)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = state
        else:
            generator.set_state(state)

    def describe(self, state: Any) -> dict[str, JSON]:
        text = state.numpy().tobytes() if isinstance(state, torch.Tensor) else repr(to_plain(state)).encode()
        return {"type": type(self.generator).__name__, "digest": digest(text)}

    def encode(self, state: Any) -> Any:
        return to_plain(state)

    def decode(self, plain: Any) -> Any:
        if isinstance(self.generator, random.Random):
            return python_state(plain)
        if isinstance(self.generator, torch.Generator):
            return torch_state(plain, self.generator.device)
        return numpy_state(plain, self.capture())


def own_generators(generators: Iterable[Generator]) -> tuple[OwnGenerator, ...]:
    """Return the sources of the user's generators, in order; refuse anything else before it is touched."""
    sources: list[OwnGenerator] = []
    for position, generator in enumerate(generators):
        name, source = f"generators[{position}]", OwnGenerator(generator, position)
        if isinstance(generator, random.SystemRandom) or not isinstance(generator, KINDS):
            is_class = isinstance(generator, type)
            kind: Any = generator if is_class else type(generator)
            remedy = "Leave it out, or write a source for it and register it with deterministic.register_source."
            if is_class:
                remedy = "Pass an object of it: torch.Generator(), numpy.random.default_rng() or random.Random()."
            raise type_error(
                f"{name} is not a generator that can be saved and seeded",
                (
                    f"found: {'the class ' * is_class}{kind.__module__}.{kind.__qualname__}",
                    "expected: torch.Generator, numpy.random.Generator, numpy.random.RandomState or random.Random",
                ),
                remedy,
            )
        if generator in GLOBAL:
            differs = f"{name} is a global generator, which every scope seeds and restores anyway"
            raise value_error(differs, (f"found: {generator!r}",), "Leave it out.")
        if source in sources:
            both = sources[sources.index(source)].name, name
            raise value_error("a generator is listed twice", both, "List it once: it has one stream.")
        sources.append(source)
    return tuple(sources)
