"""What a loader knows of the generators that its dataset holds before a sample is made: where, which, how seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ...errors import DeterministicError, explain
from ...ground.seeds import derive_seed
from ...sources.own_generators import OwnGenerator
from .graph import Graph
from .keys import HeldChoice, mix
from .states import writer_for

_PERSONS = 2**16
"""A seed below it is one that somebody wrote. One that was drawn, in a run that nobody seeded, must not count."""
_SHOWN = 20


def survey(
    dataset: Any, collate_fn: Any, choice: HeldChoice, randomness: str
) -> tuple[dict[str, int], list[dict[str, str]]]:
    """Return the label of each generator that these two hold, by path, and a row on each for the report.

    Args:
        dataset: The user's.
        collate_fn: The user's, or None.
        choice: What is done with them.
        randomness: Whether each "sample" is keyed, or each "batch".

    Raises:
        DeterministicError: There are some, and none are wanted.
    """
    walks = [Graph(dataset, "dataset"), Graph(collate_fn, "collate_fn")]
    if choice == "refuse" and any(walk.found for walk in walks):
        refuse(walks)
    each = "epoch" if isinstance(dataset, IterableDataset) else randomness
    labels: dict[str, int] = {}
    rows: dict[int, dict[str, str]] = {}
    first: dict[tuple[Any, ...], str] = {}
    for walk, what in zip(walks, (each, "batch"), strict=True):
        seeds = {path.rpartition(".")[0]: seed for path, link in walk.found if (seed := _seed_of(link.value))}
        for path, link in walk.found:
            generator = link.value
            is_keyed = choice == "key" and writer(generator) is not None
            row = {
                "path": path,
                "kind": kind_of(generator),
                "how": f"keyed for each {what}" if is_keyed else "not keyed",
            }
            if is_keyed:
                # Two that are alike now, as copies of a pipeline are, stay alike: somebody may count on it.
                source = OwnGenerator(generator, 0)
                origin = first.setdefault((row["kind"], source.describe(source.capture())["digest"]), path)
                seed = _seed_of(generator) or seeds.get(path.rpartition(".")[0], ())  # else that of one beside it
                labels[path] = label(origin, seed)
                row["how"] += f", its seed {', '.join(map(str, seed))} counts" if seed else ""
            rows.setdefault(id(generator), row)
    return labels, [*rows.values()]


def label(path: str, seed: Iterable[int] = ()) -> int:
    """Return what tells a generator's keys from those of others."""
    return derive_seed(0, "held", path, *seed)


def sentences(rows: list[dict[str, str]]) -> list[str]:
    """Return rows as notes of the report."""
    more = [f"and {len(rows) - _SHOWN} more generators"] if len(rows) > _SHOWN else []
    return [f"{row['path']}: {row['kind']}, {row['how']}." for row in rows[:_SHOWN]] + more


def refuse(walks: Iterable[Graph]) -> NoReturn:
    """Raise a DeterministicError that names what was found."""
    found = [f"{path}: {kind_of(link.value)}" for walk in walks for path, link in walk.found]
    more = (f"and {len(found) - _SHOWN} more",) if len(found) > _SHOWN else ()
    raise DeterministicError(
        explain(
            'held="refuse": this loader\'s dataset or collate_fn holds generators of its own',
            (*found[:_SHOWN], *more),
            'Draw from sample_rng() or the global generators instead, or pass held="key".',
        )
    )


def writer(generator: Any) -> Callable[[int], None] | None:
    """Return what puts a generator where a key says; None: it is on an accelerator, or of a kind that nobody knows."""
    bits = getattr(generator, "bit_generator", None)
    if type(bits) in (np.random.PCG64, np.random.PCG64DXSM):
        return _pcg_writer(bits)
    try:
        return writer_for(generator)
    except TypeError:
        return None


def _pcg_writer(bits: Any) -> Callable[[int], None]:
    """Do what `writer_for` does in half the time, for the kind that most have: its state is two words and a step."""
    inner = {"state": 0, "inc": 1}
    state = {"bit_generator": type(bits).__name__, "state": inner, "has_uint32": 0, "uinteger": 0}

    def write(key: int) -> None:
        inner["state"], inner["inc"] = mix(key + 1) << 64 | key, key << 1 | 1
        bits.state = state

    return write


def kind_of(generator: Any) -> str:
    """Return what a generator is, for people."""
    kind = type(generator)
    inner = {torch.Generator: "device", np.random.Generator: "bit_generator"}.get(kind)
    of = None if inner is None else getattr(generator, inner)
    shown = f" ({of if isinstance(of, torch.device) else type(of).__name__})" if of is not None else ""
    name = next((name for name in ("numpy.random", "torch") if kind.__module__.startswith(name)), kind.__module__)
    return f"{name}.{kind.__qualname__}{shown}"


def _seed_of(generator: Any) -> tuple[int, ...]:
    """Return the seed that somebody wrote for a generator; empty: it shows none, as Python's never does."""
    seed: Any = None
    if isinstance(generator, torch.Generator):
        seed = generator.initial_seed()
    elif not isinstance(generator, random.Random):
        bits = getattr(generator, "bit_generator", None) or generator._bit_generator
        seed = getattr(getattr(bits, "_seed_seq", None), "entropy", None)
        if seed is None and type(bits) is np.random.MT19937:  # of a legacy one it is the first word, until it draws
            seed = int(bits.state["state"]["key"][0])
    seeds = tuple(seed) if isinstance(seed, (list, tuple)) else (seed,)
    return seeds if all(isinstance(one, int) and 0 <= one < _PERSONS for one in seeds) else ()
