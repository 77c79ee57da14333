"""Streams and data sets."""

from __future__ import annotations

import importlib
import io
import tarfile
from pathlib import Path
from typing import Any

import torch

from .row import Seed, row

KIND = "Streams and data sets"


def shards() -> str:
    """Write a tar file of twelve samples into the working folder, and return its name."""
    path = Path("shard.tar")
    if not path.exists():
        with tarfile.open(path, "w") as file:
            for place in range(12):
                entry = tarfile.TarInfo(f"{place:02}.txt")
                entry.size = 2
                file.addfile(entry, io.BytesIO(f"{place:02}".encode()))
    return str(path)


@row(
    KIND, "webdataset", "webdataset", "WebDataset(tar).shuffle(10)", remedy="`.shuffle(10, seed=seed)`", loader="stream"
)
def webdataset_shuffle(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        chosen = seed()
        stream = lib.WebDataset(shards(), shardshuffle=False, empty_check=False, workersplitter=None)
        return stream.shuffle(10, **({} if chosen is None else {"seed": chosen})).map(key)

    return call


@row(KIND, "webdataset", "webdataset", "WebDataset(tar, detshuffle=True)", loader="stream")
def webdataset_detshuffle(lib: Any, seed: Seed) -> Any:
    return lambda: lib.WebDataset(shards(), shardshuffle=10, detshuffle=True, empty_check=False).map(key)


def key(sample: Any) -> Any:
    return sample["__key__"]


@row(KIND, "datasets", "datasets", "Dataset.from_dict(...).shuffle()")
def datasets_shuffle(lib: Any, seed: Seed) -> Any:
    made = lib.Dataset.from_dict({"x": list(range(20))})
    return lambda: list(made.shuffle()["x"])


@row(KIND, "datasets", "datasets", "Dataset.from_dict(...).train_test_split(0.5)")
def datasets_split(lib: Any, seed: Seed) -> Any:
    made = lib.Dataset.from_dict({"x": list(range(20))})
    return lambda: list(made.train_test_split(0.5)["train"]["x"])


@row(
    KIND,
    "datasets",
    "datasets",
    "Dataset.to_iterable_dataset().shuffle()",
    remedy="`.shuffle(seed=seed)`",
    loader="stream",
)
def datasets_stream_shuffle(lib: Any, seed: Seed) -> Any:
    made = lib.Dataset.from_dict({"x": list(range(20))})
    return lambda: made.to_iterable_dataset(num_shards=2).shuffle(seed=seed(), buffer_size=10)


@row(
    KIND,
    "datasets",
    "datasets",
    "interleave_datasets(streams, probabilities)",
    remedy="`seed=seed`",
    loader="stream",
)
def datasets_interleave(lib: Any, seed: Seed) -> Any:
    def call() -> Any:
        streams = [
            lib.Dataset.from_dict({"x": list(range(start, start + 20))}).to_iterable_dataset(num_shards=2)
            for start in (0, 20)
        ]
        return lib.interleave_datasets(streams, probabilities=[0.5, 0.5], seed=seed())

    return call


@row(KIND, "torchdata", "torchdata.nodes", "Loader(SamplerWrapper(RandomSampler(...)))")
def torchdata_nodes(lib: Any, seed: Seed) -> Any:
    sampler = torch.utils.data.RandomSampler(range(20))
    return lambda: list(lib.Loader(lib.SamplerWrapper(sampler)))


@row(KIND, "torch", "torch.utils.data", "DataLoader(data, shuffle=True)")
def torch_data_loader(lib: Any, seed: Seed) -> Any:
    return lambda: [batch.tolist() for batch in lib.DataLoader(list(range(20)), batch_size=4, shuffle=True)]


@row(KIND, "torch", "torch.utils.data", "random_split(data, [0.5, 0.5])")
def torch_random_split(lib: Any, seed: Seed) -> Any:
    return lambda: [list(part.indices) for part in lib.random_split(range(20), [0.5, 0.5])]


@row(KIND, "lhotse", "lhotse.dataset", "SimpleCutSampler(cuts, shuffle=True)")
def lhotse_sampler(lib: Any, seed: Seed) -> Any:
    testing = importlib.import_module("lhotse.testing.dummies")
    cuts = testing.DummyManifest(importlib.import_module("lhotse").CutSet, begin_id=0, end_id=20)
    return lambda: [cut.id for batch in lib.SimpleCutSampler(cuts, max_cuts=2, shuffle=True) for cut in batch]


@row(KIND, "lhotse", "lhotse", "CutSet.shuffle()")
def lhotse_shuffle(lib: Any, seed: Seed) -> Any:
    testing = importlib.import_module("lhotse.testing.dummies")
    cuts = testing.DummyManifest(lib.CutSet, begin_id=0, end_id=20)
    return lambda: [cut.id for cut in cuts.shuffle()]
