"""A training that is killed and resumed: `python -m tests.ranks COUNT tests.distributed.resumed FOLDER SHARDED KILLED`.

Killed at that step of 6, unless that is 0; saved at every second one. What it ended with is left in `end.json`.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from deterministic import Checkpoint, fingerprint, make_loader, reproducible
from deterministic.distributed import world_invariant

from ..ranks import meet
from .trainings import MODELS, data_for


def main(folder: str, sharded: str, killed: str) -> None:
    torch.set_num_threads(1)
    ranks, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    if ranks > 1 or sharded == "fsdp":
        meet()
    with reproducible(seed=5, num_threads=1):
        net: Any = MODELS["cnn"]()
        model = net
        if sharded == "fsdp":
            from torch.distributed.fsdp import fully_shard

            fully_shard(net.last)
            model = fully_shard(net)
        elif ranks > 1:
            model = nn.parallel.DistributedDataParallel(net)
        world_invariant(model, shards=4)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
        loader = make_loader(data_for("cnn"), global_batch_size=16, shuffle=True, drop_last=True)
        checkpoint = Checkpoint(Path(folder) / "saved", every=2, model=net, optimizer=optimizer, loader=loader)
        for _ in checkpoint.epochs(1):
            for images, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()
                checkpoint.step()
                if checkpoint.steps == int(killed) and rank == ranks - 1:
                    os.kill(os.getpid(), signal.SIGKILL)
        checkpoint.close()
    found = [checkpoint.steps, fingerprint(net), fingerprint(optimizer)]
    if rank == 0:
        (Path(folder) / "end.json").write_text(json.dumps(found))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
