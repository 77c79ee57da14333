"""Generators that a stream holds start each epoch alike in every worker, and go on from there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

from deterministic import make_loader

from .datasets import epochs


class Ordered(IterableDataset[Any]):
    """Every worker draws the order, and takes its part."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng()

    def __iter__(self) -> Any:
        info = torch.utils.data.get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for number in self.generator.permutation(12)[worker::workers]:
            yield torch.tensor([number, self.generator.random()])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_s_generators_start_each_epoch_alike_in_every_worker(workers: int) -> None:
    def made() -> Any:
        return make_loader(Ordered(), 3, seed=0, num_workers=workers)

    seen = epochs(made())
    assert seen == epochs(made())
    assert seen[0] != seen[1]
    for epoch in seen:
        assert sorted(row[0] for batch in epoch for row in batch) == list(range(12))
    made().check()


def test_a_stream_without_workers_gives_its_generator_back_between_batches_and_resumes() -> None:
    stream, alone = Ordered(), Ordered()
    stream.generator, alone.generator = np.random.default_rng(3), np.random.default_rng(3)
    made: Any = make_loader(stream, 3, seed=0)
    batches = iter(made)
    next(batches)
    assert stream.generator.random() == alone.generator.random()
    state, rest = made.state_dict(), [batch.tolist() for batch in batches]
    assert stream.generator.random() == alone.generator.random()
    fresh = Ordered()
    fresh.generator = np.random.default_rng(3)
    resumed: Any = make_loader(fresh, 3, seed=0)
    resumed.load_state_dict(state)
    with pytest.warns(UserWarning, match="loaded again"):
        again = [batch.tolist() for batch in resumed]
    assert again == rest


class Placed(Ordered):
    """A stream that says its own state."""

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]


class Told(Placed):
    """One that is told its epochs too, and so has an order of its own for each."""

    def set_epoch(self, epoch: int) -> None:
        self.generator = np.random.default_rng(epoch)


@pytest.mark.parametrize(
    ("kind", "state", "how"),
    [
        (Placed, "use", "not keyed"),
        (Placed, "ignore", "keyed for each epoch"),
        (Told, "use", "not keyed"),
        (Told, "ignore", "not keyed"),
    ],
)
def test_the_generators_of_a_stream_that_says_its_state_belong_to_it(kind: Any, state: Any, how: str) -> None:
    loader = make_loader(kind(), 3, seed=0, stream_state=state)
    assert [row["how"] for row in loader.keying.rows] == [how]
