"""The generators that a user's sampler holds, and their states as JSON."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ...sources.own_generators import OwnGenerator

KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""What counts as a generator of somebody's."""

_DEPTH = 4
"""How deep generators are looked for inside a sampler: a batch sampler, its sampler, what that holds, a list there."""

GLOBAL = (torch.default_generator, random.random.__self__, np.random.mtrand._rand)  # type: ignore[attr-defined]


def generator_kinds(sampler: Any) -> list[str]:
    """Return the type of each generator that a sampler holds, in a fixed order."""
    return [type(generator).__name__ for generator in _generators_in(sampler, _DEPTH, set())]


def generator_states(sampler: Any) -> list[Any]:
    """Return the type and the state of each generator that a sampler holds, in a fixed order."""
    sources = [OwnGenerator(generator, place) for place, generator in enumerate(_generators_in(sampler, _DEPTH, set()))]
    return [[type(source.generator).__name__, _packed(source.encode(source.capture()))] for source in sources]


def restore_generators(sampler: Any, states: list[Any]) -> None:
    """Put each generator that a sampler holds where `generator_states` found it."""
    sources = [OwnGenerator(generator, place) for place, generator in enumerate(_generators_in(sampler, _DEPTH, set()))]
    decoded = [source.decode(_unpacked(state)) for source, (_, state) in zip(sources, states, strict=True)]
    for source, state in zip(sources, decoded, strict=True):
        source.restore(state)


def _generators_in(value: Any, depth: int, visited: set[int]) -> Iterator[Any]:
    if depth < 0 or id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, KINDS):
        if not isinstance(value, random.SystemRandom) and all(value is not one for one in GLOBAL):
            yield value
        return
    inside: Iterable[Any] = ()
    if isinstance(value, (list, tuple)):
        inside = value[:100]  # generators in a list are few; a list of a million indices is not looked through
    elif isinstance(value, dict):
        inside = list(value.values())[:100]
    elif not isinstance(value, (Dataset, torch.Tensor, np.ndarray)) and hasattr(value, "__dict__"):
        inside = [one for name, one in vars(value).items() if name not in ("data_source", "dataset")]
    for one in inside:
        yield from _generators_in(one, depth - 1, visited)


def _packed(plain: Any) -> Any:
    """Return a generator's encoded state with a tensor as text, so that a state is JSON."""
    return base64.b64encode(plain.numpy().tobytes()).decode() if isinstance(plain, torch.Tensor) else plain


def _unpacked(plain: Any) -> Any:
    if isinstance(plain, str):
        return torch.from_numpy(np.frombuffer(base64.b64decode(plain), dtype=np.uint8).copy())
    return plain
