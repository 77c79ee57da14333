"""What `world_invariant` and a sharded checkpoint come to on many ranks, calculated: `python -m benchmarks.many_ranks`.

A reduction takes (messages one after the other) x latency + (bytes sent) / bandwidth + (bytes added up) / rate. The
three are fitted to what the reductions of `world_sizes` took on two and four ranks of one machine, and printed beside
it; for a network they are stated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .charts import newest


class Network(NamedTuple):
    """Seconds a message, bytes a second on the wire, bytes a second that are added up."""

    latency: float
    bandwidth: float
    adding: float


STATED = Network(latency=10e-6, bandwidth=25e9, adding=500e9)
"""An accelerator at 200 Gbit/s: what its maker states, not measured here."""

RANKS = (2, 8, 64, 256, 1024)
BUCKET = 25 << 20
"""Bytes of a bucket of DistributedDataParallel."""


def ring(ranks: int, size: float) -> tuple[float, float, float]:
    """Messages one after the other, bytes sent, and bytes added up by one rank; so of all below."""
    return 2 * (ranks - 1), 2 * size * (ranks - 1) / ranks, size * (ranks - 1) / ranks


def binary_trees(ranks: int, size: float) -> tuple[float, float, float]:
    """Two trees that each sum one half and send it back, as NCCL's; pipelined."""
    return 2 * math.log2(ranks), 2 * size, size


def halves(ranks: int, size: float) -> tuple[float, float, float]:
    """Recursive halving and doubling, which the order takes between CPUs."""
    return 2 * math.log2(ranks), 2 * size * (ranks - 1) / ranks, size * (ranks - 1) / ranks


def all_to_all(ranks: int, size: float) -> tuple[float, float, float]:
    """All-to-all, a sum, and all-gather in a ring, which the order takes between accelerators."""
    return 2 * (ranks - 1), 2 * size * (ranks - 1) / ranks, size * (ranks - 1) / ranks


WAYS: dict[str, Callable[[int, float], tuple[float, float, float]]] = {
    "ring": ring,
    "two binary trees": binary_trees,
    "in order, by halves": halves,
    "in order, all-to-all": all_to_all,
}


def seconds(way: str, ranks: int, size: float, network: Network) -> float:
    """Return what one reduction takes."""
    messages, sent, added = WAYS[way](ranks, size)
    return messages * network.latency + sent / network.bandwidth + added / network.adding


def fitted(reductions: dict[str, dict[str, dict[str, float]]], measured: str, way: str) -> tuple[Network, float]:
    """Fit latency and bandwidth to what was measured, relative errors alike; return them with the largest error.

    Adding is within the bandwidth: on one machine both are memory's.
    """
    rows, took = [], []
    for ranks, sizes in reductions.items():
        for size, row in sizes.items():
            messages, sent, _ = WAYS[way](int(ranks), int(size))
            rows.append((messages, sent))
            took.append(row[measured] / 1e3)
    times = np.array(took)
    scaled = np.array(rows) / times[:, None]
    latency, slowness = np.linalg.lstsq(scaled, np.ones(len(times)), rcond=None)[0]
    error = float(np.abs(scaled @ [latency, slowness] - 1).max())
    return Network(float(latency), float(1 / slowness), math.inf), error


def step(
    way: str, ranks: int, shards: int, *, alone: float, a_shard: float, parameters: int, network: Network
) -> float:
    """Return what a step takes beside one of DistributedDataParallel on as many ranks, nothing overlapping.

    Args:
        way: How the sum is made in order; that of DistributedDataParallel is the faster of the other two.
        ranks: How many there are.
        shards: Of a global batch; a rank has `shards / ranks`.
        alone: Seconds that one process computes on the whole batch.
        a_shard: Seconds that a further shard costs: kernels are launched again.
        parameters: In float32.
        network: Between the ranks.
    """
    buckets, size = max(1, round(parameters * 4 / BUCKET)), min(parameters * 4, BUCKET)
    plain = min(seconds(other, ranks, size, network) for other in ("ring", "two binary trees"))
    further = a_shard * (shards / ranks - 1)
    ours = alone / ranks + further + buckets * seconds(way, ranks, size, network)
    return ours / (alone / ranks + buckets * plain)


def checkpoint(parameters: float, ranks: int, rate: float) -> dict[str, float]:
    """Return bytes, files, writes of 16 MiB and seconds of a float32 model with AdamW's two moments."""
    whole = parameters * 12
    own = whole / ranks
    return {
        "bytes": whole,
        "bytes of a rank": own,
        "files": ranks,
        "writes of a rank": math.ceil(own / (16 << 20)),
        "seconds": own / rate,
    }


def main() -> None:
    """Print the tables."""
    figures: Any = newest("world-sizes-cpu")["world_sizes"]
    reductions = {ranks: found["reductions"] for ranks, found in figures.items()}
    for measured, way in (("all-reduce", "ring"), ("in order", "in order, by halves")):
        network, error = fitted(reductions, measured, way)
        print(
            f"{measured} on this machine, as {way}: {network.latency * 1e6:.0f} us a message, "
            f"{network.bandwidth / 1e9:.1f} GB/s; off by {error:.0%} at most"
        )
    print(f"\nA reduction of {BUCKET >> 20} MiB and of 1 MiB, ms, at {STATED.latency * 1e6:.0f} us and 25 GB/s")
    print(f"{'ranks':>6}" + "".join(f"{way:>24}" for way in WAYS))
    for ranks in RANKS:
        both = [[1e3 * seconds(way, ranks, size, STATED) for size in (BUCKET, 1 << 20)] for way in WAYS]
        print(f"{ranks:>6}" + "".join(f"{f'{large:.2f}, {small:.2f}':>24}" for large, small in both))
    print(
        "\nA step beside DistributedDataParallel's: 1e9 parameters, 0.2 s of computing, 2 ms a further shard of a rank"
    )
    print("ranks    by halves: 1, 4, 16 shards a rank    by all-to-all: the same")
    for ranks in RANKS:
        cells = [
            f"{step(way, ranks, ranks * more, alone=0.2 * ranks, a_shard=2e-3, parameters=10**9, network=STATED):8.2f}"
            for way in ("in order, by halves", "in order, all-to-all")
            for more in (1, 4, 16)
        ]
        print(f"{ranks:>6}" + "".join(cells))
    print("\n70e9 parameters on 64 ranks at 1 GB/s each:", json.dumps(checkpoint(70e9, 64, 1e9)))


if __name__ == "__main__":
    main()
