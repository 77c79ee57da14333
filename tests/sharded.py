"""Models that are spread over ranks, for programs that `tests.ranks` starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module


def plain(width: int = 8) -> nn.Sequential:
    """Return a model with the same weights each time; the last one's are fewer than the ranks."""
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, width), nn.Linear(width, 3))
    for number, parameter in enumerate(net.parameters()):
        parameter.data.copy_(torch.linspace(-1, 1 + number, parameter.numel()).sin().view_as(parameter))
    return net


def _mesh(*shape: int, names: tuple[str, ...] = ("ranks",)) -> DeviceMesh:
    return init_device_mesh("cpu", shape, mesh_dim_names=names)


def _pairs(*names: str) -> DeviceMesh:
    return _mesh(2, torch.distributed.get_world_size() // 2, names=names)


def fsdp() -> nn.Module:
    net, mesh = plain(7), _mesh(torch.distributed.get_world_size())  # 7 rows, which no number of ranks divides
    fully_shard(net[1], mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net


def hsdp() -> nn.Module:
    net = plain(7)
    fully_shard(net, mesh=_pairs("replicas", "shards"))
    return net


_PLAN: Mapping[str, Any] = {"1": ColwiseParallel(), "2": RowwiseParallel()}


def tp() -> nn.Module:
    net = plain()
    parallelize_module(net, _mesh(torch.distributed.get_world_size()), dict(_PLAN))
    return net


def tp_and_fsdp() -> nn.Module:
    """Both: the layer norm, which has no plan, is on the meshes of one dimension alone."""
    net, mesh = plain(), _pairs("data", "tensor")
    parallelize_module(net, mesh["tensor"], dict(_PLAN))
    fully_shard(net, mesh=mesh["data"])
    return net


KINDS: Mapping[str, Callable[[], nn.Module]] = {
    "plain": plain, "narrow": lambda: plain(7), "fsdp": fsdp, "hsdp": hsdp, "tp": tp, "tp+fsdp": tp_and_fsdp
}  # fmt: skip
UNSHARDED = {"fsdp": "narrow", "hsdp": "narrow", "tp": "plain", "tp+fsdp": "plain"}
"""The kind that has the weights of a sharded one."""


def gathered(value: Any) -> Any:
    """Return a value with all of each sharded tensor in it."""
    if isinstance(value, DTensor):
        return value.full_tensor().detach()
    if isinstance(value, dict):
        return {key: gathered(item) for key, item in value.items()}
    return [gathered(item) for item in value] if isinstance(value, list) else value


def trained(kind: str, steps: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a model and its optimizer after some steps, with the gradients of the last one."""
    net = KINDS[kind]()
    optimizer = torch.optim.AdamW(net.parameters(), 0.1)
    for step in range(steps):
        optimizer.zero_grad()
        batch = torch.linspace(-1, step + 1, 20).reshape(4, 5)
        net(batch).square().mean().backward()
        optimizer.step()
    return net, optimizer
