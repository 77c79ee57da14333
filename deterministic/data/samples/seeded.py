"""What a loader knows of the generators that its dataset holds before a sample is made: where, which, how seeded."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ...errors import DeterministicError
from ...ground.seeds import derive_seed
from ...sources.numpy_random import bits_of
from ...sources.own_generators import OwnGenerator
from .graph import Graph
from .keys import HeldChoice
from .states import writer_for

_PERSONS, _PERSONS_LEGACY = 2**16, 1000
"""A seed below it is one that somebody wrote. One that was drawn, in a run that nobody seeded, must not count: for a
legacy generator libraries draw one below 2**32, of which a thousand are one in four million."""
_SHOWN = 20


def survey(
    dataset: Any, collate_fn: Any, choice: HeldChoice, randomness: str
) -> tuple[dict[str, int], list[dict[str, str]]]:
    """Return the label of each generator that these two hold, by path, and a row on each for the report."""
    walks = [Graph(dataset, "dataset"), Graph(collate_fn, "collate_fn")]
    if choice == "refuse" and any(walk.found for walk in walks):
        refuse(walks)
    each = "epoch" if isinstance(dataset, IterableDataset) else randomness
    labels: dict[str, int] = {}
    rows: dict[int, dict[str, str]] = {}
    first: dict[tuple[str, Any], str] = {}
    for walk, what in zip(walks, (each, "batch"), strict=True):
        times = Counter(path for path, _ in walk.found)  # what is in a set shares one path, in no order
        seeds = {path: _seed_of(link.value) for path, link in walk.found if times[path] == 1}
        beside = {_owner(path): seed for path, seed in seeds.items() if seed}
        for path, link in walk.found:
            generator, how = link.value, "not keyed"
            if choice == "key" and writer_for(generator) is not None:
                # Two that are alike now, as copies of a pipeline are, stay alike: somebody may count on it.
                source = OwnGenerator(generator, 0)
                alike = kind_of(generator), source.describe(source.capture())["digest"]
                seed = seeds[path] or beside.get(_owner(path), ()) if path in seeds else ()
                labels[path] = label(first.setdefault(alike, path) if path in seeds else path, seed)
                counts = f", its seed {', '.join(map(str, seed))} counts" if seed else ""
                how = f"keyed for each {what}{counts}"
            rows.setdefault(id(generator), row(path, generator, how))
    return labels, [*rows.values()]


def row(path: str, generator: Any, how: str) -> dict[str, str]:
    """Return what the report says of a generator."""
    return {"path": path, "kind": kind_of(generator), "how": how}


def _owner(path: str) -> str:
    return path.rpartition(".")[0]


def label(path: str, seed: Iterable[int] = ()) -> int:
    """Return what tells a generator's keys from those of others."""
    return derive_seed(0, "held", path, *seed)


def sentences(rows: list[dict[str, str]]) -> list[str]:
    """Return rows as notes of the report."""
    return _shown([f"{row['path']}: {row['kind']}, {row['how']}." for row in rows])


def refuse(walks: Iterable[Graph]) -> NoReturn:
    """Raise a DeterministicError that names what was found."""
    raise DeterministicError(
        'held="refuse": this loader\'s dataset or collate_fn holds generators of its own',
        tuple(_shown([f"{path}: {kind_of(link.value)}" for walk in walks for path, link in walk.found])),
        'Draw from sample_rng() or the global generators instead, or pass held="key".',
    )


def _shown(lines: list[str]) -> list[str]:
    return [*lines[:_SHOWN], *[f"and {len(lines) - _SHOWN} more generators"][: len(lines) > _SHOWN]]


def kind_of(generator: Any) -> str:
    """Return what a generator is, for people."""
    kind, bits = type(generator), getattr(generator, "bit_generator", None)
    inner = getattr(generator, "device", None) if bits is None else type(bits).__name__
    shown = "" if inner is None else f" ({inner})"
    return f"{kind.__module__.partition('._')[0].removesuffix('.mtrand')}.{kind.__qualname__}{shown}"


def _seed_of(generator: Any) -> tuple[int, ...]:
    """Return the seed that somebody wrote for a generator; empty: it shows none, as Python's never does."""
    bits, most = bits_of(generator), _PERSONS
    seed: Any = generator.initial_seed() if isinstance(generator, torch.Generator) else None
    seed = getattr(getattr(bits, "_seed_seq", None), "entropy", seed)
    if seed is None and type(bits) is np.random.MT19937:  # of a legacy one it is the first word, until it draws
        seed, most = int(bits.state["state"]["key"][0]), _PERSONS_LEGACY
    plain = seed.tolist() if isinstance(seed, (np.ndarray, np.generic)) else seed
    spawned = getattr(getattr(bits, "_seed_seq", None), "spawn_key", ())
    try:
        seeds = tuple(map(operator.index, (*(plain if isinstance(plain, (list, tuple)) else (plain,)), *spawned)))
    except TypeError:  # it shows none
        return ()
    return seeds if all(0 <= one < most for one in seeds) else ()
