"""A loader on several ranks, and a training: `python -m tests.ranks COUNT tests.data.ranks_training FOLDER JOB...`."""

from __future__ import annotations

import json
import os

import torch
import torch.distributed

from ..ranks import meet
from .datasets import batches, epochs
from .test_ranks import loaded, over


def main(folder: str, *jobs: str) -> None:
    torch.set_num_threads(1)
    launchers = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE")}
    loader = over(43, num_workers=1)
    assert loader.batch_size == 8, "it is made before anything says how many ranks there are"
    os.environ.update(launchers)
    meet()
    os.environ.update(RANK="9", WORLD_SIZE="3")  # what the process group says counts
    rank = torch.distributed.get_rank()
    found = {"batches": epochs(loader, 1)[0], "length": len(loader), "batch_size": loader.batch_size}

    if "save" in jobs:
        iterator = iter(loader)
        batches(iterator, 2)
        with open(f"{folder}/state{rank}.json", "w") as file:
            json.dump(loader.state_dict(), file)
        found["rest"] = [batch.tolist() for batch in iterator]
    if "resume" in jobs:
        with open(f"{folder}/state0.json") as file:
            found["rest"] = epochs(loaded(json.load(file)), 1)[0]
    if "train" in jobs:
        found["weights"] = trained(rank)

    torch.distributed.barrier()  # gloo may abort a process of which the others have left the group already
    torch.distributed.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(found, file)


def trained(rank: int) -> list[list[float]]:
    torch.manual_seed(rank)  # DDP gives every rank the weights of rank 0
    layers = torch.nn.Sequential(torch.nn.Linear(7, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    model = torch.nn.parallel.DistributedDataParallel(layers)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = over(43, drop_last=True)
    for _ in range(2):
        for batch in loader:
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
    return [parameter.tolist() for parameter in model.parameters()]
