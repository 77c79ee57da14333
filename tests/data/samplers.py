"""Samplers that others wrote, of every kind that is known: what they say, what they make late, what they hide."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, RandomSampler, Sampler

from .datasets import Draws

LENGTH = 20
BATCHES = 5  # of 4


class Base(Sampler[int]):
    """An order of its own from generators, of which it may have any."""

    def __init__(self) -> None:
        self.data_source = range(LENGTH)

    def __len__(self) -> int:
        return LENGTH

    def order(self) -> list[int]:
        return list(torch.randperm(LENGTH).tolist())


class Resets(Base):
    """torchdata's protocol: after a pass its state says the end, and every pass resets it."""

    at = 0
    resume: int | None = None

    def __iter__(self) -> Iterator[int]:
        self.at, self.resume = self.resume or 0, None
        for index in self.order()[self.at :]:
            self.at += 1
            yield index

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.resume = state["at"]


class Stays(Resets):
    """The same, but what was loaded stays in force."""

    start = 0

    def __iter__(self) -> Iterator[int]:
        self.at = self.start
        for index in self.order()[self.at :]:
            self.at += 1
            yield index

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start = state["at"]


class Counts(Base):
    """Counts its passes itself, and where it is in them."""

    times = at = 0

    def order(self) -> list[int]:
        return list(np.random.RandomState(self.times).permutation(LENGTH).tolist())

    def __iter__(self) -> Iterator[int]:
        for index in self.order()[self.at :]:
            self.at += 1
            yield index
        self.times, self.at = self.times + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {"times": self.times, "at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.times, self.at = state["times"], state["at"]


class OwnIterator(Base):
    """Gives batches and is its own iterator, which resets when it is asked for one; torch's batches would never end."""

    def __iter__(self) -> Any:
        self.left = self.order()
        return self

    def __next__(self) -> list[int]:
        if not self.left:
            raise StopIteration
        return [self.left.pop() for _ in range(4)]


class SaysLate(OwnIterator):
    """Has nothing to say before it was iterated."""

    def state_dict(self) -> dict[str, Any]:
        return {"left": len(self.left)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class MadeAnew(Base):
    """Makes its generator whenever it is iterated, and keeps it."""

    def __iter__(self) -> Iterator[int]:
        self.rng = random.Random(7)
        return iter(self.rng.sample(range(LENGTH), LENGTH))


class MadeOnce(MadeAnew):
    """Makes its generator when it is first iterated, and goes on with it."""

    rng: Any = None

    def __iter__(self) -> Iterator[int]:
        self.rng = self.rng or random.Random(7)
        for _ in range(LENGTH):
            yield self.rng.randrange(LENGTH)


class Shuffles(Base):
    """Shuffles its own list in place, and does not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.indices = list(range(LENGTH))

    def __iter__(self) -> Iterator[int]:
        random.shuffle(self.indices)
        return iter(self.indices)


class Endless(Base):
    """Never ends, and has no length."""

    __len__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(5)

    def __iter__(self) -> Iterator[int]:
        while True:
            yield int(self.generator.integers(LENGTH))


class Lazily(Base):
    """Gives every batch as an iterator that draws."""

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[Any]:
        for _ in range(BATCHES):
            yield (random.randrange(LENGTH) for _ in range(4))


class Untellable(Base):
    """Cannot be asked for its length."""

    def __len__(self) -> int:
        raise ValueError("ambiguous")

    def __iter__(self) -> Iterator[int]:
        return iter(self.order())


class Asks(Untellable):
    """Wants to be told something before it says its state."""

    def state_dict(self, samples: int) -> dict[str, Any]:
        return {"samples": samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


def distributed() -> Any:
    sampler = importlib.import_module("torchdata.stateful_dataloader.sampler")
    return sampler.StatefulDistributedSampler(Draws(LENGTH), 1, 0)


def torchdatas_random() -> Any:
    sampler = importlib.import_module("torchdata.stateful_dataloader.sampler")
    return sampler.RandomSampler(range(LENGTH), generator=torch.Generator().manual_seed(3))


def torchdatas_batches() -> Any:
    return importlib.import_module("torchdata.stateful_dataloader.sampler").BatchSampler(distributed(), 4, False)


EXACT: dict[str, Callable[[], dict[str, Any]]] = {
    "resets": lambda: {"sampler": Resets()},
    "resets, in batches": lambda: {"batch_sampler": BatchSampler(Resets(), 4, False)},
    "stays": lambda: {"sampler": Stays()},
    "counts": lambda: {"sampler": Counts()},
    "its own iterator": lambda: {"batch_sampler": OwnIterator()},
    "says late": lambda: {"batch_sampler": SaysLate()},
    "made anew": lambda: {"sampler": MadeAnew()},
    "made once": lambda: {"sampler": MadeOnce()},
    "lazy batches": lambda: {"batch_sampler": Lazily()},
    "no length to tell": lambda: {"sampler": Untellable()},
    "asks": lambda: {"sampler": Asks()},
    "torchdata, distributed": lambda: {"sampler": distributed()},
    "torchdata, random": lambda: {"sampler": torchdatas_random()},
    "torchdata, batches": lambda: {"batch_sampler": torchdatas_batches()},
}
HIDING: dict[str, Callable[[], dict[str, Any]]] = {
    "shuffles": lambda: {"sampler": Shuffles()},
}
ALL = {**EXACT, **HIDING}
PLAIN: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": lambda: {"sampler": RandomSampler(range(LENGTH), generator=torch.Generator().manual_seed(3))}
}
