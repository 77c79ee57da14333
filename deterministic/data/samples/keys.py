"""Keys: which numbers a sample draws, as a function of (seed, epoch, index, occurrence) and of nothing else.

A key is 64 bits, the same in every process and on every platform. Seeding from it gives each library a part of its
own: equal seeds of `numpy.random` and torch would give both the same raw words, since both are MT19937 (with Knuth's
initialisation).
"""

from __future__ import annotations

import _random
import operator
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, SupportsIndex, cast

import numpy as np
import torch

from ...errors import explain
from ...ground.seeds import derive_seed

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: the step between neighbours that splitmix64 then mixes."""
_COLLATE = 0xC0117A7E

_python: Any = random.random.__self__  # type: ignore[attr-defined]
_seed_python = _random.Random.seed  # what random.seed comes to for an int, without its look at the types: 0.8 us less
_seed_numpy = np.random.seed
_seed_torch = torch.default_generator.manual_seed  # not torch.manual_seed: that takes 100 us and more, on every device


def mix(value: int) -> int:
    """Return 64 bits that each depend on every bit of `value`.

    The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014;
    the constants are Stafford's variant 13).
    """
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def epoch_key(seed: int, epoch: int, *purpose: SupportsIndex | str) -> int:
    """Return the key of an epoch for one purpose: its samples, its order, its sampler."""
    return derive_seed(seed, "loader", epoch, *purpose)


def sample_key(epoch: int, index: Any, occurrence: int = 0) -> int:
    """Return the key of a sample.

    Args:
        epoch: The key of the epoch.
        index: What the dataset is asked for.
        occurrence: How often the epoch has asked for it before: a sample that is drawn twice differs each time.
    """
    number = index if type(index) is int else index_number(index)
    key = mix(epoch + (number + 1) * _GOLDEN)
    return mix(key + occurrence * _GOLDEN) if occurrence else key


def sample_keys(epoch: int, indices: Sequence[Any], occurrences: Sequence[int] | None = None) -> list[int]:
    """Return `sample_key` of each index of a batch; for integers all at once, in a third of the time."""
    if occurrences is None:
        numbers = np.asarray(indices) if all(type(index) is int for index in indices) else None
        if numbers is not None and numbers.dtype.kind in "iu":
            keys = _mixed((numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(epoch))
            return cast("list[int]", keys.tolist())
        return [sample_key(epoch, index) for index in indices]
    return [sample_key(epoch, index, occurrence) for index, occurrence in zip(indices, occurrences, strict=True)]


def _mixed(values: np.ndarray[Any, np.dtype[np.uint64]]) -> Any:
    """Return `mix` of each; numpy's unsigned integers wrap around as it wants them to."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def batch_key(first: int, length: int) -> int:
    """Return the key of a batch: of its first sample's key, which no other batch of the epoch has, and its length."""
    return mix(first ^ mix(length + _GOLDEN))


def collate_key(batch: int) -> int:
    """Return the key under which a batch is collated, apart from the one under which it is fetched."""
    return mix(batch ^ _COLLATE)


def seed_generators(key: int) -> None:
    """Seed `random`, `numpy.random` and torch's CPU generator from a key, each with bits of its own; some 7 us."""
    _seed_python(_python, key)
    _python.gauss_next = None
    _seed_numpy(key & 0xFFFFFFFF)
    _seed_torch(key >> 32)


def index_number(index: Any) -> int:
    """Return what stands for an index in a key: itself if it is an integer, else 64 bits hashed from its value.

    Raises:
        TypeError: Its value has no form that is the same in every process.
    """
    try:
        return operator.index(index)
    except TypeError:
        return derive_seed(0, "index", *_parts(index))


def _parts(value: Any) -> Iterable[SupportsIndex | str]:
    if isinstance(value, str):
        return ("str", value)
    if isinstance(value, (bytes, bytearray)):
        return ("bytes", value.hex())
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, len(value), *(part for item in value for part in _parts(item)))
    if isinstance(value, (set, frozenset)):
        return (type(value).__name__, *sorted(index_number(item) for item in value))
    if isinstance(value, Mapping):
        return (type(value).__name__, *sorted(index_number(item) for item in value.items()))
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return ("tensor", str(value.dtype), str(tuple(value.shape)), data.hex())
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.names:  # between fields there may be anything
            return ("array", str(value.shape), *_parts(value.tolist()))
        return ("array", str(value.dtype), str(value.shape), value.tobytes().hex())
    if isinstance(value, PurePath):
        return ("path", value.as_posix())
    if isinstance(value, SupportsIndex) and not isinstance(value, type):
        return ("int", operator.index(value))
    if is_dataclass(value) and not isinstance(value, type):
        values = (getattr(value, field.name) for field in fields(value))
        return (type(value).__qualname__, *(part for item in values for part in _parts(item)))
    # A collection of somebody else's may say no more of itself than its length.
    text = repr(list(value) if isinstance(value, Collection) else value)
    if " at 0x" in text:  # an address, which is another in every process
        raise TypeError(
            explain(
                "an index has no value that is the same in every process, so its sample can have no key",
                (
                    f"found: {text}",
                    "expected: an int, a str, bytes, a tuple of these, or anything with a __repr__ of its own",
                ),
                "Let the sampler give indices of such a type, or give this type a __repr__ that says its value.",
            )
        )
    return (type(value).__name__, text)
