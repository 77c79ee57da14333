"""Sharded checkpoints: a model of FSDP2 on two ranks, saved and loaded beside torch.distributed.checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.multiprocessing.spawn import spawn

from deterministic import fingerprint, load_checkpoint, reproducible, save_checkpoint

from .timing import in_turn, median_ratio

RANKS = 2
WIDTH, LAYERS = 2048, 6
"""100 MB of float32 in all."""


def _rank(rank: int, folder: str, rounds: int) -> None:
    """Save and load on one rank; the first writes what each took."""
    from torch.distributed.checkpoint.state_dict_loader import load
    from torch.distributed.checkpoint.state_dict_saver import save
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=RANKS)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    fully_shard(model, mesh=init_device_mesh("cpu", (RANKS,)))
    whole = fingerprint(model)

    def timed(work: Callable[[], object]) -> float:
        torch.distributed.barrier()
        started = time.perf_counter()
        work()
        torch.distributed.barrier()
        return time.perf_counter() - started

    def of_torch(work: Callable[..., object]) -> None:
        work(model.state_dict(), checkpoint_id=f"{folder}/dcp")

    trials: dict[str, Callable[[], object]] = {
        "save": lambda: save_checkpoint(f"{folder}/ours", model=model),
        "save, torch": partial(of_torch, save),
        "load": lambda: load_checkpoint(f"{folder}/ours", model=model),
        "load, torch": partial(of_torch, load),
    }
    with reproducible(seed=0):
        for work in trials.values():  # what is imported or made only once; and there is something to load
            work()
        seconds = in_turn({name: partial(timed, work) for name, work in trials.items()}, rounds=rounds)
    if fingerprint(model) != whole:
        raise RuntimeError("what was loaded is not what was saved")
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps(seconds))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def measure(*, rounds: int) -> dict[str, Any]:
    """Time saving and loading in two processes, in turn.

    Args:
        rounds: How often each is timed.
    """
    folder = tempfile.mkdtemp()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    try:
        spawn(_rank, (folder, rounds), nprocs=RANKS)
        seconds = json.loads(Path(folder, "seconds.json").read_text())
    finally:
        shutil.rmtree(folder)
    return {
        "bytes": LAYERS * (WIDTH + 1) * WIDTH * 4,
        "seconds": {name: {"best": min(taken), "median": statistics.median(taken)} for name, taken in seconds.items()},
        "ratio": {name: median_ratio(seconds[name], seconds[f"{name}, torch"]) for name in ("save", "load")},
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"\na sharded model of {found['bytes'] / 1e6:.0f} MB on {RANKS} ranks, gloo")
    for name, seconds in found["seconds"].items():
        print(f"  {name:<42} {seconds['best'] * 1e3:9.0f} ms, median {seconds['median'] * 1e3:.0f} ms")
    for name, ratio in found["ratio"].items():
        print(f"  {name} to that of torch.distributed.checkpoint: {ratio:.2f}")
