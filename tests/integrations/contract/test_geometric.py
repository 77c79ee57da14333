"""torch_geometric's graphs, which compare by identity, and its collation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from deterministic import make_loader
from deterministic.errors import NotReproducibleError
from deterministic.testing import check_dataset

from .killed import killed_anywhere

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.script, which it calls when it is imported
    from torch_geometric.data import Batch, Data
    from torch_geometric.loader.dataloader import Collater


class Graphs(Dataset[Any]):
    """Graphs of two edges, with noise on their nodes."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return Data(x=torch.rand(3, 2) * index, edge_index=torch.tensor([[0, 1], [1, 2]]), y=index)


class Counted(Graphs):
    count = 0

    def __getitem__(self, index: int) -> Any:
        self.count += 1
        return Data(x=torch.full((3, 2), float(self.count)), edge_index=torch.tensor([[0, 1], [1, 2]]))


def loader(**arguments: Any) -> Any:
    return make_loader(Graphs(), batch_size=2, shuffle=True, seed=0, collate_fn=Collater(Graphs()), **arguments)


def tensors(batches: Any) -> list[Any]:
    return [[batch.x.tolist(), batch.edge_index.tolist(), batch.y.tolist()] for batch in batches]


def test_equal_graphs_are_equal_and_others_are_found() -> None:
    check_dataset(Graphs)
    make_loader(Graphs(), seed=0, collate_fn=list).check()
    with pytest.raises(NotReproducibleError):
        make_loader(Counted(), seed=0, collate_fn=list).check()


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_batches_of_graphs_are_those_of_their_loader_and_resumed_exactly(workers: dict[str, Any]) -> None:
    whole = [tensors(epoch) for made in (loader(**workers),) for epoch in (made, made)]
    assert type(loader().peek()) is type(Batch.from_data_list([Data()]))
    stopped = loader(**workers)
    assert tensors(stopped) == whole[0]
    iterator = iter(stopped)
    seen = tensors([next(iterator)])
    resumed = loader(**workers)
    resumed.load_state_dict(stopped.state_dict())
    assert seen + tensors(resumed) == whole[1]


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    make = lambda: make_loader(Graphs(), batch_size=2, shuffle=True, seed=0, collate_fn=graph_tensors)  # noqa: E731
    assert killed_anywhere(make, tmp_path) == {"exact"}


def graph_tensors(graphs: list[Any]) -> Any:
    return tensors([Collater(Graphs())(graphs)])
