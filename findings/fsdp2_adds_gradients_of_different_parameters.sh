#!/usr/bin/env bash
# torch 2.13.0 (CPU, gloo, Python 3.11): FSDP2 adds the gradients of different parameters where ranks use different parts.
#
# Two layers of one size are in one group of fully_shard, and each rank calls another of them, as a mixture of experts does
# for its own samples. Each rank packs the gradients that it has, without a word on whose they are, and they have the same
# size: so the reduce-scatter adds the gradient of one layer to that of the other. Nothing is raised. The page of
# set_reduce_scatter_unused_params, which mends it, speaks of such models and of collectives that do not match; these match.
#
# What it prints (right would be 0.5 for a and 1.0 for b: half of what one rank has, since the other has none):
#   as it is, rank 0: a 1.5, b None
#   as it is, rank 1: a None, b 1.5
#   set_reduce_scatter_unused_params(True), rank 0: a 0.5, b 1.0
#   set_reduce_scatter_unused_params(True), rank 1: a 0.5, b 1.0
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
cat >program.py <<'PROGRAM'
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard


class Routed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, rows):
        return (self.a if dist.get_rank() == 0 else self.b)(rows)


def main(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name, settle in (("as it is", False), ("set_reduce_scatter_unused_params(True)", True)):
        torch.manual_seed(0)
        model = fully_shard(Routed())
        if settle:
            model.set_reduce_scatter_unused_params(True)
        model(torch.full((1, 2), rank + 1.0)).sum().backward()
        gradients = [p.grad for p in model.parameters()]
        a, b = (None if grad is None else grad.to_local().flatten()[0].item() for grad in gradients)
        with open(f"{folder}/{settle:d}{rank}", "w") as file:
            file.write(f"{name}, rank {rank}: a {a}, b {b}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    mp.spawn(main, (os.getcwd(),), 2)
    found = [open(f"{settle}{rank}").read() for settle in (0, 1) for rank in (0, 1)]
    print(*found, sep="\n")
    ends = ("a 1.5, b None", "a None, b 1.5", "a 0.5, b 1.0", "a 0.5, b 1.0")
    sys.exit(not all(text.endswith(end) for text, end in zip(found, ends)))
PROGRAM
"$work/venv/bin/python" program.py
