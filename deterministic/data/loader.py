"""`make_loader`: a DataLoader with its own seeded order and seeded workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .. import _stack
from .._config import OMITTED, Omitted
from .._seeds import torch_seed, validate_seed
from ..errors import SeedError, explain
from .worker import SeedWorkerThen, seed_worker

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


def make_loader(
    dataset: Dataset[T],
    batch_size: int | None = 1,
    shuffle: bool | None = None,
    *,
    seed: int | Omitted = OMITTED,
    randomness: Literal["worker"] = "worker",
    generator: torch.Generator | None = None,
    **dataloader_arguments: Any,
) -> DataLoader[T]:
    """Make a DataLoader whose order and workers are seeded.

    Iterating leaves the caller's generators alone, but for what the dataset itself draws with num_workers=0.

    Provisional: the standard PyTorch recipe (a generator of the loader's own, and `seed_worker`). Two loaders of one
    scope have the same seed, as by hand. The order is the same for any number of workers; draws inside the dataset
    are repeated exactly for the same number of workers, and differ between numbers. A later version makes them
    independent of it, and that will be the default.

    Args:
        dataset: Any dataset that DataLoader takes.
        batch_size: Samples per batch; None switches batching off.
        shuffle: Whether to draw a new order every epoch.
        seed: 0 <= seed < 2**64. Omitted: the scope's. In a scope without a seed (seed=None, or not enabled) the
            result is a plain DataLoader.
        randomness: "worker", the standard recipe, whose draws are those of published results.
        generator: The loader's generator, already seeded, instead of `seed`.
        dataloader_arguments: Every other argument of `torch.utils.data.DataLoader`; a `worker_init_fn` runs after
            `seed_worker`.

    Returns:
        A `torch.utils.data.DataLoader`.

    Raises:
        SeedError: The seed is no seed, or there is neither a seed nor a scope.
        TypeError: Both a seed and a generator were given.
        ValueError: `randomness` names no scheme.

    Example:
        >>> from deterministic import make_loader
        >>> first = [batch.tolist() for batch in make_loader(range(4), batch_size=2, shuffle=True, seed=0)]
        >>> first == [batch.tolist() for batch in make_loader(range(4), batch_size=2, shuffle=True, seed=0)]
        True
    """
    import torch
    from torch.utils.data import DataLoader

    if randomness != "worker":
        raise ValueError(
            explain(
                "randomness= names no scheme",
                (f"found: {randomness!r}", "expected: 'worker'"),
                "Leave it out: per-sample keys are planned.",
            )
        )
    if generator is not None and not isinstance(seed, Omitted):
        raise TypeError(
            explain(
                "a loader takes a seed or a generator, not both",
                (f"seed: {seed!r}", f"generator: seeded with {generator.initial_seed()}"),
                "Leave one of them out.",
            )
        )
    effective = _effective_seed(seed) if generator is None else None
    if effective is not None:
        generator = torch.Generator().manual_seed(torch_seed(effective))
    if generator is not None:
        users = dataloader_arguments.pop("worker_init_fn", None)
        dataloader_arguments["worker_init_fn"] = seed_worker if users is None else SeedWorkerThen(users)
    return DataLoader(dataset, batch_size, shuffle, generator=generator, **dataloader_arguments)


def _effective_seed(seed: int | Omitted) -> int | None:
    """Return the seed to use; None in a scope that has none."""
    if not isinstance(seed, Omitted):
        return validate_seed(seed)
    entry = _stack.innermost()
    if entry is None and _stack.disabled:
        return None
    if entry is None:
        raise SeedError(
            explain(
                "a loader needs a seed",
                ("found: no seed=, and no scope is open",),
                "Pass seed=, or make the loader inside `with reproducible(seed=...)`.",
            )
        )
    return entry.config.seed
