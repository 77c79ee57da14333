"""Sharded models, refused and used: `python -m tests.ranks 2 tests.distributed.fsdp_cases FOLDER refused`."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deterministic.distributed import clip_grad_norm_, world_invariant
from deterministic.distributed.torch_internals import groups_of
from deterministic.errors import DeterministicError

from ..ranks import meet


class Other:
    def allocate(self, *size: Any, **how: Any) -> Tensor:
        return torch.empty(*size, **how)


class Named(nn.Module):
    """Returns what is nested, and a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, vectors: Tensor, scale: float = 1.0) -> dict[str, Any]:
        out = self.layer(vectors) * scale
        return {"both": (out, out + 1), "loss": out.square().mean(), "unused": self.layer(vectors), "name": "a"}


def model_of(*more: nn.Module, layers: bool = True, whole: bool = True, **how: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), *more)
    if layers:
        fully_shard(model[1], **how)
    return fully_shard(model, **how) if whole else model


def refused(rank: int) -> dict[str, Callable[[], Any]]:
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("many", "other"))
    own = [DeviceMesh("cpu", [one]) for one in range(2)][rank]

    def parallel() -> Any:
        model = nn.Sequential(nn.Linear(3, 4))
        return fully_shard(parallelize_module(model, mesh["other"], {"0": ColwiseParallel()}), mesh=mesh["many"])

    def left_out() -> Any:
        layer = nn.Linear(3, 4)
        return fully_shard(nn.Sequential(layer), ignored_params={next(layer.parameters())})

    def columns() -> None:
        weight = nn.Parameter(distribute_tensor(torch.ones(4, 4), init_device_mesh("cpu", (2,)), [Shard(1)]))
        weight.grad = weight.detach().clone()
        clip_grad_norm_(weight, 1.0)

    def having(name: str, value: Any) -> Any:
        model = model_of()
        getattr(model[1], name)(value)
        return model

    def called(model: Any, then: Callable[[Any], Any] = lambda model: None, rows: int = 8) -> Any:
        then(model)
        return model(torch.ones(rows, 3))

    def orthogonal() -> Any:
        return nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="matrix_exp")

    def step(make: Callable[[Any], torch.optim.Optimizer]) -> None:
        model, others = world_invariant(model_of()), model_of()
        for one in (others, model):  # what is not world-invariant is no concern of ours
            called(one).sum().backward()
            make(one.parameters()).step()

    def again() -> None:
        loss = called(world_invariant(model_of())).sum()
        loss.backward(retain_graph=True)
        loss.backward()

    return {
        "replicas": lambda: world_invariant(model_of(mesh=mesh)),
        "a part of the ranks": lambda: world_invariant(model_of(mesh=own)),
        "tensor parallel": lambda: world_invariant(parallel()),
        "a layer alone": lambda: world_invariant(model_of(whole=False)),
        "left out": lambda: world_invariant(left_out()),
        "another reduction": lambda: world_invariant(having("set_custom_reduce_scatter", Other())),
        "a hook": lambda: world_invariant(having("set_all_reduce_hook", print)),
        "a factor": lambda: world_invariant(having("set_gradient_divide_factor", 3.0)),
        "float16": lambda: world_invariant(model_of(mp_policy=MixedPrecisionPolicy(torch.float16, torch.float32))),
        "offloaded": lambda: world_invariant(model_of(offload_policy=CPUOffloadPolicy(pin_memory=False))),
        "again": lambda: world_invariant(world_invariant(model_of())),
        "on one rank alone": lambda: world_invariant(having("set_all_reduce_hook", print) if rank else model_of()),
        "rows": lambda: called(world_invariant(model_of()), rows=16 if rank else 8),
        "eval": lambda: called(world_invariant(model_of()), nn.Module.eval).sum().backward(),
        "a part by itself": lambda: world_invariant(model_of())[1](torch.ones(8, 4)).sum().backward(),
        "without sums": lambda: called(
            world_invariant(model_of()), lambda model: model.set_requires_gradient_sync(False)
        ),
        "columns": columns,
        "a second pass": again,
        "no scale": lambda: called(world_invariant(model_of(orthogonal()))),
        "fused": lambda: step(functools.partial(torch.optim.AdamW, fused=True)),
        "matrices": lambda: step(lambda parameters: torch.optim.Muon([next(parameters)])),
        "twice differentiated": lambda: called(world_invariant(model_of())).sum().backward(create_graph=True),
    }


def used() -> None:
    """Use a model in the ways of a training, with the same results as without `fully_shard`."""
    from torch.distributed.fsdp import FSDPModule, fully_shard

    count, rank = dist.get_world_size(), dist.get_rank()
    model: Any = world_invariant(model_of(nn.Dropout(0.5)), shards=4)
    with torch.no_grad():  # integers, whose sums are exact: on some processors four rows take another kernel than all
        for parameter in model.parameters():
            parameter.to_local().mul_(8).round_()
    plain = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Dropout(0.5))
    assert all(isinstance(model, kind) for kind in (FSDPModule, nn.Sequential))
    assert type(model).__name__ == "FSDPSequential"
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert len(model[:2]) == 2
    plain.load_state_dict({name: one.full_tensor() for name, one in model.state_dict().items()})

    batch = torch.arange(48.0).view(16, 3).view(count, -1, 3)[rank]
    with torch.no_grad():
        found = model(batch)
        kept = found != 0
        assert torch.equal(found[kept], 2 * plain[1](plain[0](batch))[kept])
        assert not torch.equal(model(batch) != 0, kept)
    for one in (model, plain):
        one.eval()
    assert torch.equal(model(batch), plain(batch))
    model.train()

    wanted = batch.clone().requires_grad_()
    model(wanted).square().mean().backward()
    assert wanted.grad is not None
    assert wanted.grad.any()
    assert model[0].weight.grad.full_tensor().any()

    torch.manual_seed(0)
    nested: Any = Named()
    apart: Any = Named()
    apart.load_state_dict(nested.state_dict())
    nested = world_invariant(fully_shard(nested), shards=4)
    for kind in ("loss", "both", "chain"):
        for one in (nested, apart):
            one.zero_grad()
            out = one(batch, scale=2.0)
            assert out["name"] == "a"
            assert out["both"][1].shape == (16 // count, 2)
            loss = out["loss"] if kind == "loss" else (out["both"][0] * out["both"][1]).mean()
            if kind == "chain":
                loss = loss + one(torch.cat([out["both"][0], out["both"][0][:, :1]], 1))["loss"]
            loss.backward()
        gradient = apart.layer.weight.grad.clone()
        dist.all_reduce(gradient)
        torch.testing.assert_close(nested.layer.weight.grad.full_tensor(), gradient / count)


class Parts(nn.Module):
    """Takes the parts that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.parts = nn.ModuleList(nn.Linear(3, 2) for _ in range(3))

    def forward(self, rows: Tensor, taken: str) -> Any:
        rows = self.first(rows)
        return rows, [self.parts[int(number)](rows) for number in taken]


TAKEN = (("0", "0"), ("01", "0"), ("01", "01"), ("0", "01"), ("0", "1"), ("1", "1"), ("2", "01"), ("", "0"), ("", ""))
"""By each of two ranks, step by step: as before, more, less, others; those that went before on no rank, or on one."""


def partly() -> None:
    """Take other parts of a model on each rank, and in each step."""
    from torch.distributed.fsdp import fully_shard

    rank, count = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    plain = Parts()
    model: Any = Parts()
    model.load_state_dict(plain.state_dict())
    fully_shard(model.first)
    model = world_invariant(fully_shard(model), shards=count)
    rows = torch.arange(12.0).view(4, 3) * (1 + rank)
    for taken in TAKEN:
        for one in (plain, model):
            one.zero_grad()
            first, others = one(rows, taken[rank % 2])
            sum((out.square().mean() for out in others), first.mean()).backward()
        for wanted, found in zip(plain.parameters(), model.parameters(), strict=True):
            own = torch.zeros_like(wanted) if wanted.grad is None else wanted.grad
            is_there = torch.tensor([wanted.grad is not None])
            dist.all_reduce(own)
            dist.all_reduce(is_there, dist.ReduceOp.MAX)
            assert (found.grad is not None) == bool(is_there), taken
            if found.grad is not None:
                torch.testing.assert_close(found.grad.full_tensor(), own / count)


def recovered() -> None:
    """Refuse calls while parameters are gathered, and go on as a model does of which none was refused."""
    from torch.distributed.tensor import DTensor

    rank = dist.get_rank()
    pairs = [(one := world_invariant(model_of(nn.Dropout(0.5))), torch.optim.SGD(one.parameters(), 0.1)) for _ in "ab"]
    batch = torch.arange(24.0).view(8, 3) + rank
    for step, refused in enumerate((batch[:4] if rank else batch, batch if rank else None, batch[:3])):
        for model, optimizer in pairs:
            optimizer.zero_grad()
            torch.manual_seed(step)
            loss = model(batch).square().mean()
            for when in ("while the first parameters are there", "when they are gathered"):
                state = torch.get_rng_state()
                if model is pairs[0][0]:
                    try:
                        model(refused)
                    except DeterministicError:
                        assert torch.equal(torch.get_rng_state(), state)
                    else:
                        raise AssertionError(f"not refused {when}: {step}")
                if when.startswith("while"):
                    loss.backward()
                assert all(isinstance(one, DTensor) for one in model.parameters())
            optimizer.step()
    found, expected = ([one.full_tensor() for one in model.parameters()] for model, _ in pairs)
    assert all(map(torch.equal, found, expected))


def overlapped() -> None:
    """Gather and reduce while the ranks tell each other numbers, and not only then."""
    model: Any = world_invariant(model_of(layers=False), shards=dist.get_world_size())
    ranks, (group,), seen = model.per_shard._ranks, groups_of(model), list[str]()
    numbers, reduce = ranks.numbers, group._reduce_scatter_comm

    def tell(*own: int) -> Callable[[], list[list[int]]]:
        told: Callable[[], list[list[int]]] = numbers(*own)
        seen.append("tells")

        def wait() -> list[list[int]]:
            seen.append("waits, gathering" if group._all_gather_result is not None else "waits")
            return told()

        return wait

    class Reduce(type(reduce)):  # type: ignore[misc]
        def __call__(self, *of: Any, **how: Any) -> None:
            seen.append("reduces")
            super().__call__(*of, **how)

    ranks.numbers = tell
    model.set_custom_reduce_scatter(Reduce())
    for _ in range(3):
        seen.clear()
        model(torch.ones(4, 3)).square().mean().backward()
    assert seen == ["tells", "waits, gathering", "tells", "reduces", "waits"]


def main(folder: str, what: str) -> None:
    torch.set_num_threads(1)
    meet()
    told: dict[str, str] = {}
    if what != "refused":
        {"used": used, "partly": partly, "recovered": recovered, "overlapped": overlapped}[what]()
    else:
        for name, attempt in refused(dist.get_rank()).items():
            try:
                attempt()
                told[name] = "done"
            except Exception as error:  # noqa: BLE001 - it is what is asked for
                told[name] = str(error)
    (Path(folder) / f"{dist.get_world_size()}-{os.environ['RANK']}.json").write_text(json.dumps(told))
    dist.barrier()
    dist.destroy_process_group()
