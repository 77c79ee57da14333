"""The type of `make_loader`, and of what it makes loaders over."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar, overload

import torch
from torch.utils.data import DataLoader, Dataset

from ..ground.config import OMITTED, Omitted
from .keyed_loader import ReproducibleDataLoader
from .samples.keys import HeldChoice, StreamState

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Indexed(Protocol[T_co]):
    """What has samples by their numbers: a list, a tensor, an array, a class of anybody's with these two methods."""

    def __getitem__(self, index: int, /) -> T_co: ...

    def __len__(self) -> int: ...


class MakesLoaders(Protocol):
    """`make_loader`: a function, with another one on it."""

    @overload
    def __call__(
        self,
        dataset: Dataset[T] | Indexed[T],
        batch_size: int | None | Omitted = OMITTED,
        shuffle: bool | Literal["blocks"] | None = None,
        sampler: Any = None,
        *,
        seed: int | Omitted = OMITTED,
        randomness: Literal["sample", "batch"] = "sample",
        shard: bool = True,
        global_batch_size: int | None = None,
        block_size: int | None = None,
        worker_threads: int = 1,
        stream_state: StreamState = "use",
        held: HeldChoice = "key",
        generator: torch.Generator | None = None,
        **dataloader_arguments: Any,
    ) -> ReproducibleDataLoader[T]: ...

    @overload
    def __call__(
        self,
        dataset: Dataset[T] | Indexed[T],
        batch_size: int | None | Omitted = OMITTED,
        shuffle: bool | None = None,
        sampler: Any = None,
        *,
        seed: int | Omitted = OMITTED,
        randomness: Literal["worker"],
        generator: torch.Generator | None = None,
        **dataloader_arguments: Any,
    ) -> DataLoader[T]: ...

    def like(self, loader: DataLoader[T], **overrides: Any) -> ReproducibleDataLoader[T]: ...
