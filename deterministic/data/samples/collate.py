"""The `collate_fn` that a loader shows, which keeps others from taking it without the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import DeterministicError, explain
from .torch_internals import called_by_a_fetcher


class Collate:
    """The user's `collate_fn` as an attribute of the loader: it refuses to work for another loader's fetcher.

    Whoever builds a DataLoader of their own from the attributes of this one (Accelerate does) takes the dataset and
    `collate_fn`, and leaves the keys behind: the draws would silently be what they happen to be.
    """

    def __init__(self, users: Callable[[Any], Any]) -> None:
        self.__wrapped__ = users

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __call__(self, samples: Any) -> Any:
        if called_by_a_fetcher():
            raise DeterministicError(
                explain(
                    "a loader of make_loader was built again by other code, without its keys",
                    ("found: its collate_fn in a DataLoader that is not the one make_loader returned",),
                    "Leave the loader out of accelerator.prepare() and the like: it shares the data between the "
                    "ranks itself. Move its batches to the device by hand.",
                )
            )
        return self.__wrapped__(samples)


def unwrapped(collate_fn: Any) -> Any:
    """Return the user's `collate_fn` behind what a loader shows; anything else as it is."""
    return collate_fn.__wrapped__ if isinstance(collate_fn, Collate) else collate_fn
