"""Keys: which numbers a sample draws, as a function of (seed, epoch, index, occurrence) and of nothing else.

A key is 64 bits, the same in every process and on every platform. `states` makes it into the states of generators.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import PurePath
from typing import Any, Literal, SupportsIndex, TypeAlias, cast, overload

import numpy as np
import torch

from ...errors import DeterministicError, SeedError, type_error
from ...ground.arguments import choice
from ...ground.entropy import current
from ...ground.ranks import current_ranks
from ...ground.seeds import derive_seed
from .states import mix, seed_generators

Randomness: TypeAlias = Literal["sample", "batch"]
StreamState: TypeAlias = Literal["use", "ignore", "refuse"]
HeldChoice: TypeAlias = Literal["key", "leave", "refuse"]

_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: the step between neighbours that splitmix64 then mixes."""
_COLLATE = 0xC0117A7E


@dataclass
class Keying:
    """What `make_loader` adds to a DataLoader's arguments."""

    # 0 <= seed < 2**64; None: drawn from torch's global generator when it is first needed, as a DataLoader without a
    # generator draws, so that `torch.manual_seed` decides it.
    given_seed: int | None
    randomness: Randomness  # what is seeded: every sample, or every batch
    shard: bool  # whether ranks share the data, so that they must have one seed
    is_global: bool  # whether the batch size counts the samples of all ranks
    worker_threads: int  # how many threads torch uses for one CPU operation while fetching
    stream_state: StreamState = "use"  # what a stream's own `state_dict()` is good for
    held: HeldChoice = "key"  # what is done with generators that the dataset or `collate_fn` holds
    # What tells their keys apart, by path, as far as they were there when the loader was made.
    labels: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)  # the report's on each of those

    @property
    def seed(self) -> int:
        """The seed; a SeedError if there is none, and drawing one would give each rank another."""
        if self.given_seed is None:
            world_size = current_ranks().world_size if self.shard else 1
            if world_size > 1:
                raise SeedError(
                    "the ranks would each draw a seed of their own, and with it another order",
                    (f"found: no seed, {world_size} ranks", "expected: one seed for all of them"),
                    "Pass seed= to make_loader or the scope, or shard=False if every rank is to see all data.",
                )
            self.given_seed = draw_seed(None)
        return self.given_seed


def draw_seed(generator: torch.Generator | None) -> int:
    """Draw a seed, 0 <= seed < 2**63; moves the generator (None: torch's global one) by one draw."""
    device = "cpu" if generator is None else generator.device
    return int(torch.empty((), dtype=torch.int64, device=device).random_(generator=generator).item())


def epoch_key(seed: int, epoch: int, *purpose: SupportsIndex | str) -> int:
    """Return the key of an epoch for one purpose: its samples, its order, its sampler."""
    return derive_seed(seed, "loader", epoch, *purpose)


def sample_key(epoch: int, index: Any, occurrence: int = 0) -> int:
    """Return the key of a sample, from its epoch's; one that is drawn twice differs at each occurrence."""
    number = index if type(index) is int else index_number(index)
    key = mix(epoch + (number + 1) * _GOLDEN)
    return mix(key + occurrence * _GOLDEN) if occurrence else key


def sample_keys(epoch: int, indices: Sequence[Any], occurrences: Sequence[int] | None = None) -> list[int]:
    """Return `sample_key` of each index of a batch; for integers all at once, in a third of the time."""
    if occurrences is None:
        numbers = np.asarray(indices) if set(map(type, indices)) == {int} else None
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


def begin(key: int | None, made: dict[str, Any] | None = None) -> None:
    """Say that the sample (or batch) with this key is being made now, with these generators; None: none is."""
    current.key, current.made = key, made


def under_way() -> tuple[int | None, dict[str, Any] | None]:
    """Return the sample that is being made, with its generators, for `begin` to go on with."""
    return current.key, current.made


def begin_seeded(key: int) -> None:
    """Say which sample (or batch) is being made now, and seed the global generators for it."""
    begin(key)
    seed_generators(key)


@overload
def sample_rng(library: Literal["numpy"] = "numpy") -> np.random.Generator: ...


@overload
def sample_rng(library: Literal["torch"]) -> torch.Generator: ...


@overload
def sample_rng(library: Literal["python"]) -> random.Random: ...


def sample_rng(library: Literal["numpy", "torch", "python"] = "numpy") -> Any:
    """Return a generator for the sample that is being made, independent of what was drawn before it.

    For use in a dataset's `__getitem__`, in what it calls, and in `collate_fn` and `__getitems__` (there it is the
    batch's). Its draws depend on (seed, epoch, index, occurrence) alone, not on draws from global generators, so adding
    one augmentation does not change another's numbers. Asked for again in the same sample it is the same object and
    goes on where it was. Touches no global generator; thread-safe.

    Args:
        library: "numpy" for a `numpy.random.Generator` (Philox), "torch" for a `torch.Generator` on the CPU, "python"
            for a `random.Random`.

    Returns:
        The generator.

    Raises:
        DeterministicError: No sample is being made by a loader with keys on this thread.
        ValueError: `library` is none of the three.

    Example:
        >>> from deterministic import make_loader, sample_rng
        >>> class Noise:
        ...     def __len__(self): return 2
        ...     def __getitem__(self, index): return sample_rng("numpy").random()
        >>> first, again = (make_loader(Noise(), seed=0) for _ in range(2))
        >>> [batch.item() for batch in first] == [batch.item() for batch in again]
        True
    """
    if library not in ("numpy", "torch", "python"):
        choice("library", library, ("numpy", "torch", "python"))
    key = current.key
    if key is None:
        raise DeterministicError(
            "no sample is being made, so it has no generator",
            ("found: a call outside of a loader of make_loader, or on another thread than the one that fetches",),
            'Call it while a loader of make_loader fetches (randomness="sample" or "batch"), on its own thread.',
        )
    made = current.made
    if made is None:
        made = current.made = {}
    if library == "numpy" and library not in made:
        made[library] = np.random.Generator(np.random.Philox(key=[mix(key + 1), mix(key + 2)]))
    elif library == "torch" and library not in made:
        made[library] = torch.Generator("cpu").manual_seed(mix(key + 3) >> 32)
    elif library not in made:
        made[library] = random.Random(mix(key + 4))
    return made[library]


def index_number(index: Any) -> int:
    """Return what stands for an index in a key: itself if it is an integer, else 64 bits hashed from its value."""
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
        raise type_error(
            "an index has no value that is the same in every process, so its sample cannot be given a seed",
            (
                f"found: {text}",
                "expected: an int, a str, bytes, a tuple of these, or anything with a __repr__ of its own",
            ),
            "Let the sampler give indices of such a type, or give this type a __repr__ that says its value.",
        )
    return (type(value).__name__, text)
