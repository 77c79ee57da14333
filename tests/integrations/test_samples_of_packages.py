"""Samples and datasets as packages have them: compared by what they hold, and told their epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import Checkpoint, make_loader
from deterministic.checkpoint.loops import is_loader
from deterministic.errors import NotReproducibleError
from deterministic.values.difference import difference


def graph(value: float) -> Any:
    data = pytest.importorskip("torch_geometric.data")
    return data.Data(x=torch.full((2,), value), edge_index=torch.zeros(2, 2, dtype=torch.long), name="a")


def graphs(value: float) -> Any:
    return pytest.importorskip("torch_geometric.data").Batch.from_data_list([graph(1.0), graph(value)])


def mixed_graph(value: float) -> Any:
    found = pytest.importorskip("torch_geometric.data").HeteroData()
    found["a"].x = torch.full((2,), value)
    return found


def tensors(value: float) -> Any:
    return pytest.importorskip("tensordict").TensorDict({"a": torch.full((2,), value), "b": {"c": torch.ones(2)}}, [2])


def tensors_with_a_text(value: float) -> Any:
    tensordict = pytest.importorskip("tensordict")
    return tensordict.TensorDict({"a": torch.ones(2), "text": tensordict.NonTensorData(str(value))}, [])


@pytest.mark.parametrize("make", [graph, graphs, mixed_graph, tensors, tensors_with_a_text])
def test_equal_samples_are_not_accused_and_others_are_found(make: Callable[[float], Any]) -> None:
    assert difference(make(1.0), make(1.0), "sample") is None
    assert difference(make(1.0), make(2.0), "sample") is not None

    class Samples:
        def __init__(self) -> None:
            self.made = 0.0
            self.grows = 0

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            self.made += self.grows
            return make(index + self.made)

    dataset = Samples()
    loader = make_loader(dataset, 2, seed=0, collate_fn=list)
    loader.check()
    dataset.grows = 1
    with pytest.raises(NotReproducibleError, match="gives another sample"):
        loader.check()


def test_a_stream_of_datasets_is_told_its_epoch_in_every_process() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"a": list(range(8))})

    def given(loader: Any) -> list[int]:
        return [int(value) for batch in loader for value in batch["a"]]

    def shuffled() -> Any:
        return rows.to_iterable_dataset().shuffle(seed=0, buffer_size=5).with_format("torch")

    kinds: list[dict[str, Any]] = [{}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}]
    for workers in kinds:
        stream, plain = shuffled(), shuffled()
        loader = make_loader(stream, 4, seed=0, stream_state="ignore", **workers)
        usual = torch.utils.data.DataLoader(plain, 4, num_workers=len(workers) and 1, generator=torch.Generator())
        for epoch in range(2):
            plain.set_epoch(epoch)
            assert given(loader) == given(usual)
        for one in (stream, plain):
            one.set_epoch(5)
        assert (given(loader), loader.epoch) == (given(usual), 6)


@pytest.mark.filterwarnings("ignore")  # packages that torchdata imports are deprecated here and there
def test_the_loaders_of_torchdata_are_loaders_and_its_samplers_are_none() -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    nodes = pytest.importorskip("torchdata.nodes")
    assert is_loader(stateful.StatefulDataLoader([1]))
    assert is_loader(nodes.Loader(nodes.IterableWrapper([1])))
    assert not is_loader(stateful.sampler.StatefulDistributedSampler([1], 1, 0))


@pytest.mark.filterwarnings("ignore")
def test_a_loader_of_nodes_is_refused_by_a_checkpoint(tmp_path: Path) -> None:
    nodes = pytest.importorskip("torchdata.nodes")
    loader = nodes.Loader(nodes.SamplerWrapper(torch.utils.data.RandomSampler(range(4))))
    with pytest.raises(TypeError, match="loader= cannot be resumed exactly"):
        Checkpoint(tmp_path, loader=loader)
    with torch.random.fork_rng():  # what it is refused for: put to its end, it begins anew
        assert len([*loader]) == 4
        again = nodes.Loader(nodes.SamplerWrapper(torch.utils.data.RandomSampler(range(4))))
        again.load_state_dict(loader.state_dict())
        assert len([*again]) == 4
