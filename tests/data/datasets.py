"""Datasets that draw from every library, as users write them, and what is done with loaders over them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from deterministic import make_loader, sample_rng

LENGTH = 50


class Draws(Dataset[torch.Tensor]):
    """The index, and a uniform and a normal draw from each library: the normal ones leave half of a pair behind."""

    def __init__(self, length: int = LENGTH) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index), *draws()], dtype=torch.float64)


class InBatches(Draws):
    """Makes a whole batch in one call."""

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [self[index] for index in indices]


class Explicit(Draws):
    """Draws from the sample's own generators, after as many global draws as `before` says."""

    def __init__(self, length: int = LENGTH, before: int = 0) -> None:
        super().__init__(length)
        self.before = before

    def __getitem__(self, index: int) -> torch.Tensor:
        for _ in range(self.before):
            draws()
        torch_draw = torch.rand((), generator=sample_rng("torch"), dtype=torch.float64).item()
        own = [sample_rng("numpy").random(), sample_rng("python").random(), torch_draw]
        return torch.tensor([float(index), *own], dtype=torch.float64)


class Stream(IterableDataset[torch.Tensor]):
    """Shares itself out between workers, each getting every n-th number."""

    def __init__(self, length: int = 40) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[torch.Tensor]:
        for number in range(*self.share()):
            yield torch.tensor([float(number), *draws()], dtype=torch.float64)

    def share(self) -> tuple[int, int, int]:
        info = get_worker_info()
        return (0, self.length, 1) if info is None else (info.id, self.length, info.num_workers)


class SeekableStream(Stream):
    """Says where it is, and can be put there."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.given = 0
        self.skipped = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        start, self.skipped = self.skipped, 0
        for number in list(range(*self.share()))[start:]:
            self.given = number // self.share()[2] + 1
            yield torch.tensor([float(number), *draws()], dtype=torch.float64)

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = self.skipped = state["given"]


def draws() -> list[float]:
    """Draw from each library."""
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        torch.rand((), dtype=torch.float64).item(),
        torch.randn((), dtype=torch.float64).item(),
    ]


def mixing(samples: list[torch.Tensor]) -> torch.Tensor:
    """Collate with draws, as mixup does."""
    return torch.stack(samples) * random.random() + float(np.random.rand()) + torch.rand((), dtype=torch.float64)


def spoil(worker_id: int) -> None:
    """Seed a worker as somebody who knows no better."""
    random.seed(worker_id)
    np.random.seed(worker_id + 77)
    torch.manual_seed(1000 + worker_id)


def loader(dataset: Any = None, **arguments: Any) -> Any:
    """Make a loader over `Draws`, shuffled unless the arguments give it an order."""
    dataset = Draws() if dataset is None else dataset
    ordered = isinstance(dataset, IterableDataset) or arguments.keys() & {"sampler", "batch_sampler"}
    defaults: dict[str, Any] = {"seed": 7}
    if "batch_sampler" not in arguments and "global_batch_size" not in arguments:
        defaults["batch_size"] = 8
    if not ordered:
        defaults["shuffle"] = True
    return make_loader(dataset, **{**defaults, **arguments})


def epochs(iterated: Any, count: int = 2) -> list[list[list[Any]]]:
    """Iterate so many epochs; the batches as lists, whose equality is that of their bits."""
    return [[batch.tolist() for batch in iterated] for _ in range(count)]


def batches(iterator: Any, count: int) -> list[list[Any]]:
    """Take so many batches of an iterator, or as many as there are."""
    return [batch.tolist() for batch in islice(iterator, count)]
