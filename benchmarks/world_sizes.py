"""What `world_invariant` costs beside DistributedDataParallel, and what that comes to on many ranks.

The ranks are started by torchrun: `python -m benchmarks world-sizes` starts them, and each runs this module.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

# What is measured is imported where it is used: with it comes inductor, and from then on scopes save its options.

AIM_HOOK, AIM_ONE_SHARD, AIM_SHARDED = 1.10, 1.5, 1.15
RANKS = (2, 4)
BYTES = (1 << 16, 1 << 20, 1 << 23, 1 << 25)
"""Sizes of buckets of which the reduction alone is timed; DistributedDataParallel's have 25 MiB."""

_WARM = 3

_OF_MEMORY = ("DDP", "ordered_reduction", "one shard a rank", "8 shards")
_WIDTH, _LAYERS = 2048, 8
"""Of the model of which the memory is measured: 128 MiB, in buckets of 32 after the first step."""


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.BatchNorm2d(64), nn.ReLU())
        self.last = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 64, 256), nn.GELU(), nn.Linear(256, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.second(self.first(images)))  # type: ignore[no-any-return]


class _Transformer(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 128)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens)))  # type: ignore[no-any-return]


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, 64)
        self.layers = nn.LSTM(64, 128, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(128, 128)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens))[0])  # type: ignore[no-any-return]


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10))


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "conv net": (_Convolutions, 64),
    "transformer, 2 layers": (lambda: _Transformer(128, 2), 32),
    "transformer, 4 layers": (lambda: _Transformer(256, 4), 32),
    "LSTM": (_Recurrent, 32),
    "perceptron": (_perceptron, 256),
}
"""How each is made, and the samples of a global batch."""


def measure(*, rounds: int) -> dict[str, Any]:
    """Time steps and reductions on each number of ranks, in processes of their own, and tell what memory they took."""
    return {
        str(ranks): {
            **_launched(ranks, "steps", str(rounds)),
            "memory": {way: _launched(ranks, "memory", way) for way in _OF_MEMORY},
        }
        for ranks in RANKS
    }


def _launched(ranks: int, *arguments: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command += ["-m", "benchmarks.world_sizes", *arguments, str(result)]
        variables = {"OMP_NUM_THREADS": "1"}
        if arguments[0] == "memory":  # what is freed is given back, so that the largest size is that of what was alive
            variables["MALLOC_MMAP_THRESHOLD_"] = str(1 << 16)
        subprocess.run(command, check=True, env={**os.environ, **variables})
        return json.loads(result.read_text(encoding="utf-8"))


def _batch(name: str, size: int) -> tuple[Tensor, Tensor]:
    if name == "conv net":
        return torch.randn(size, 3, 16, 16), torch.randint(0, 10, (size,))
    if name == "perceptron":
        return torch.randn(size, 512), torch.randint(0, 10, (size,))
    return torch.randint(0, 128, (size, 32)), torch.randint(0, 128, (size, 32))


def _ways() -> dict[str, Callable[[Any], Any]]:
    """Return what makes of a DistributedDataParallel one that is trained each way."""
    from deterministic.distributed import ordered_reduction, world_invariant

    return {
        "DDP": lambda model: model,
        "ordered_reduction": ordered_reduction,
        "one shard a rank": lambda model: world_invariant(model, shards=dist.get_world_size()),
        "8 shards": lambda model: world_invariant(model, shards=8),
    }


def _memory(way: str) -> int:
    """Return the largest size that the first rank had, in bytes, of a few steps of a training without activations."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(_LAYERS)))
    model = _ways()[way](nn.parallel.DistributedDataParallel(model))
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    for _ in range(_WARM):
        optimizer.zero_grad()
        model(torch.ones(8, _WIDTH)).square().mean().backward()
        optimizer.step()
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest


def _steps(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Time a step of each way in turn: the median of the ratios to plain DDP's, or FSDP2's, in the same round."""
    from torch.distributed.fsdp import fully_shard

    from deterministic.distributed import world_invariant

    make, batch = MODELS[name]
    ranks = dist.get_world_size()
    ways = _ways()
    inputs, targets = _batch(name, batch // ranks)
    seconds = {way: list[float]() for way in [*ways, "FSDP2", "FSDP2, one shard a rank"]}
    models: dict[str, Any] = {}
    for way in seconds:
        torch.manual_seed(0)
        model: Any
        if way in ways:
            model = ways[way](nn.parallel.DistributedDataParallel(make()))
        else:
            model = fully_shard(make())
            model = model if way == "FSDP2" else world_invariant(model, shards=ranks)
        models[way] = model, torch.optim.AdamW(model.parameters(), 1e-4)
    for number in range(rounds + _WARM):
        for way, (model, optimizer) in models.items():
            torch.manual_seed(number)
            dist.barrier()
            started = time.perf_counter()
            optimizer.zero_grad()
            F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten()).backward()
            optimizer.step()
            if number >= _WARM:
                seconds[way].append(time.perf_counter() - started)
    rows = {}
    for way, taken in seconds.items():
        plain = seconds["FSDP2" if way.startswith("FSDP2") else "DDP"]
        rows[way] = {
            "ms": 1e3 * statistics.median(taken),
            "ratio": statistics.median(one / other for one, other in zip(taken, plain, strict=True)),
            "ratio of best": min(taken) / min(plain),
        }
    return rows


def _reductions(rounds: int) -> dict[str, dict[str, float]]:
    """Time an all-reduce and one in the order of the ranks, each the best of the rounds, in ms."""
    from deterministic.distributed.reduction import average

    found = {}
    for size in BYTES:
        bucket = torch.ones(size // 4)
        trials: Mapping[str, Callable[[], object]] = {
            "all-reduce": partial(dist.all_reduce, bucket),
            "in order": partial(average, bucket, dist.group.WORLD),
        }
        best = dict.fromkeys(trials, float("inf"))
        for _ in range(rounds + _WARM):
            for name, trial in trials.items():
                dist.barrier()
                started = time.perf_counter()
                trial()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - started))
        found[str(size)] = best
    return found


def show(figures: Mapping[str, Any]) -> None:
    """Print the tables."""
    for ranks, found in figures.items():
        print(f"\nA step on {ranks} gloo ranks, beside DistributedDataParallel's in the same round")
        ways = ["ordered_reduction", "one shard a rank", "8 shards", "FSDP2, one shard a rank"]
        print(f"{'':24}{'DDP ms':>10}" + "".join(f"{way:>25}" for way in ways))
        for name, row in found["steps"].items():
            print(f"{name:24}{row['DDP']['ms']:10.1f}" + "".join(f"{row[way]['ratio']:25.2f}" for way in ways))
        print(f"\nA reduction on {ranks} ranks, best, ms")
        for size, row in found["reductions"].items():
            print(f"{int(size):>12,} bytes" + "".join(f"{name:>14} {value:8.3f}" for name, value in row.items()))
        beyond = {way: (size - found["memory"]["DDP"]) / (1 << 20) for way, size in found["memory"].items()}
        print(f"\nThe largest size of a rank of {ranks} beyond DistributedDataParallel's, MiB, of 128 of parameters")
        print("".join(f"{way:>25} {size:6.1f}" for way, size in beyond.items() if way != "DDP"))
    print(f"\nAims: {AIM_HOOK} with the order alone, {AIM_ONE_SHARD} with one shard a rank, {AIM_SHARDED} of FSDP2.")


def _main(what: str, how: str, result: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    figures: object
    if what == "memory":
        figures = _memory(how)
    else:
        figures = {"steps": {name: _steps(name, int(how)) for name in MODELS}, "reductions": _reductions(int(how))}
    if dist.get_rank() == 0:
        result.write_text(json.dumps(figures), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
