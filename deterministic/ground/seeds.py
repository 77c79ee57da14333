"""Seeds as pure integers: what counts as one, and how others are derived from it."""

from __future__ import annotations

from typing import SupportsIndex

from ..errors import SeedError, cut, type_error
from .arguments import as_integer
from .arguments import count as count_of
from .launch import DEFAULT_SEED as DEFAULT_SEED

SEED_LIMIT = 2**64

_BY_HAND_LIMIT = 2**32  # below it every library takes the seed as it stands, so the draws are those of seeding by hand


def validate_seed(seed: object, *, name: str = "seed") -> int:
    """Return `seed`, an int or anything with `__index__` (a bool is none), or refuse it before anything is touched."""
    value = seed if type(seed) is int else as_integer(seed)
    if value is None:
        raise SeedError(
            f"{name} is not an integer",
            (f"found: {cut(seed)} ({type(seed).__name__})", "expected: an int, 0 <= seed < 2**64"),
            f"Pass an integer, for example {name}={DEFAULT_SEED}.",
        )
    if not 0 <= value < SEED_LIMIT:
        raise SeedError(
            f"{name} is out of range",
            (f"found: {cut(value)}", "expected: 0 <= seed < 2**64"),
            "Pass a seed in the range; nothing was seeded.",
        )
    return value


def derive_seed(seed: int, *path: SupportsIndex | str) -> int:
    """Derive a seed that depends on `seed` and on each part of `path`, and on nothing else.

    The same in every process, platform and Python version: BLAKE2b (RFC 7693) over the parts, each written with its
    type and its length, so that ("a", "b") and ("ab",), or 1 and "1", give different seeds. Pure; thread-safe.

    Args:
        seed: 0 <= seed < 2**64.
        path: What the derived seed is for: strings and integers (any sign, any size), in order.

    Returns:
        A seed, 0 <= seed < 2**64.

    Raises:
        SeedError: `seed` is not a seed.
        TypeError: A part of the path is neither int nor str.

    Example:
        >>> derive_seed(42, "split")
        3161272830160276572
        >>> derive_seed(42, "split") == derive_seed(42, "augment")
        False
    """
    import hashlib  # here, because it brings OpenSSL, which a script without derived seeds need not wait for

    digest = hashlib.blake2b(digest_size=8, person=b"deterministic")
    for part in (validate_seed(seed), *path):
        if isinstance(part, str):
            tag, data = b"s", part.encode("utf-8", "surrogatepass")
        elif (number := as_integer(part)) is not None:
            tag, data = b"i", number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
        else:
            raise type_error(
                "a part of the path is neither an int nor a str",
                (f"found: {cut(part)} ({type(part).__name__})", "expected: int or str"),
                "Name the derived seed with strings and integers, for example derive_seed(42, 'fold', 3).",
            )
        digest.update(tag + len(data).to_bytes(8, "little") + data)
    return int.from_bytes(digest.digest(), "little")


def spawn_seeds(seed: int, count: int) -> list[int]:
    """Derive `count` seeds, all different, for an ensemble or a sweep.

    The first seeds do not depend on `count`: asking for more only appends. They are below 2**32, so that every
    library takes them as they stand. Pure; thread-safe.

    Args:
        seed: 0 <= seed < 2**64.
        count: How many, 0 or more.

    Returns:
        The seeds, each 0 <= seed < 2**32.

    Raises:
        SeedError: `seed` is not a seed.
        TypeError: `count` is not an integer.
        ValueError: `count` is negative.

    Example:
        >>> spawn_seeds(42, 2) == spawn_seeds(42, 3)[:2]
        True
    """
    count_of("count", count)
    validate_seed(seed)
    seeds: dict[int, None] = {}
    attempt = 0
    while len(seeds) < count:
        seeds[derive_seed(seed, "spawn", attempt) % _BY_HAND_LIMIT] = None
        attempt += 1
    return list(seeds)


def numpy_seed(seed: int) -> int | list[int]:
    """Return what `numpy.random.seed` takes for `seed`: itself below 2**32, else the halves of one that is derived.

    With its own halves numpy's twister would be Python's: both set it up from the same 32-bit words.
    """
    if seed < _BY_HAND_LIMIT:
        return seed
    derived = derive_seed(seed, "numpy")
    return [derived % _BY_HAND_LIMIT, derived >> 32]


def torch_seed(seed: int) -> int:
    """Return what a `torch.Generator` takes for `seed`: itself below 2**32, else a seed derived from all 64 bits.

    The CPU generator of torch keeps the low 32 bits alone (`at::mt19937`), so that 5 and 5 + 2**32 would draw the same.
    """
    return seed if seed < _BY_HAND_LIMIT else derive_seed(seed, "torch")
