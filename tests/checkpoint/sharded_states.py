"""Sharded objects saved and loaded: `python -m tests.ranks COUNT tests.checkpoint.sharded_states FOLDER JOB KIND..`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

from deterministic import fingerprint, load_checkpoint, reproducible, save_checkpoint

from ..ranks import meet
from ..sharded import KINDS, trained
from .written import Plain


class Rows(torch.optim.Optimizer):
    """Keeps of each weight the sums of its rows: sharded, and of another shape than the weight."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__([parameter for parameter in model.parameters() if parameter.dim() == 2], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["sums"] = parameter.detach().sum(1)


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return fingerprint([model.state_dict(), optimizer.state_dict(), gradients])


def fresh(kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a model of other weights, and an optimizer without a state."""
    model = KINDS[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model, torch.optim.AdamW(model.parameters(), 0.1)


def placements(value: Any) -> Any:
    return value.placements if isinstance(value, DTensor) else None


def load(folder: Path, kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Load a kind; of "fsdp<tp" into the first what was saved as the second."""
    target, _, saved = kind.partition("<")
    model, optimizer = fresh(target)
    path = folder / f"{saved or target}.safetensors"
    assert load_checkpoint(path, model=model, optimizer=optimizer, step=0) == {"step": 7}
    for parameter in model.parameters():
        averages = optimizer.state[parameter]["exp_avg"], optimizer.state[parameter]["exp_avg_sq"], parameter.grad
        assert {placements(one) for one in averages} == {placements(parameter)}
        assert placements(optimizer.state[parameter]["step"]) is None
    return model, optimizer


def refusal(work: Callable[[], object]) -> str:
    try:
        work()
    except (TypeError, ValueError) as error:
        return str(error)
    return "done"


def refusals(folder: Path) -> dict[str, Any]:
    """Return how each rank refuses what cannot be saved or loaded, and whether all is as before."""
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    mesh, path = init_device_mesh("cpu", (count,)), folder / "fsdp.safetensors"

    def saving(**more: Any) -> str:
        return refusal(lambda: save_checkpoint(folder / "refused", model=model, **more))

    def tensor(placement: Any, local: torch.Tensor, of: DeviceMesh = mesh) -> Plain:
        return Plain(DTensor.from_local(local, of, [placement], run_check=False))

    model, optimizer = fresh("fsdp")
    found: dict[str, Any] = {
        "a sum": saving(sum=tensor(Partial(), torch.ones(2))),
        "elsewhere": saving(other=tensor(Shard(0), torch.ones(2), DeviceMesh("cpu", [0]))),
        "replicas": saving(other=tensor(Replicate(), torch.full((2,), float(rank)))),
        "shapes": saving(other=tensor(Shard(0), torch.ones(2, 1 + rank))),
        "names": saving(**{f"only_{rank}": 1}),
        "sharded": saving(other=tensor(Shard(0), torch.ones(2)) if rank else Plain(1)),
        "code": saving(other=Plain(print if rank else 1)),
    }
    found["files"] = sorted(one.name for one in folder.glob("refused*"))
    before = state_of(model, optimizer)

    def loading(**objects: Any) -> str:
        return refusal(lambda: load_checkpoint(path, **{"model": model, "optimizer": optimizer, "step": 0, **objects}))

    rows, again = Rows(model), Rows(model)
    rows.step()
    save_checkpoint(folder / "rows", model=model, rows=rows)
    load_checkpoint(folder / "rows", model=model, rows=again)
    found["rows"] = fingerprint(again) == fingerprint(rows) and all(
        isinstance(one["sums"], DTensor) for one in again.state.values()
    )
    wide = KINDS["fsdp"]()
    wide[1] = nn.Linear(5, 9)  # type: ignore[operator]
    found["other shape"] = loading(model=wide)
    found["other names"] = loading(ema=model)
    (file,) = folder.glob("fsdp.rank1.*")
    data = file.read_bytes()
    torch.distributed.barrier()
    for name, damaged in (("damaged", data[:-1] + bytes([data[-1] ^ 1])), ("cut", data[:-1]), ("missing", None)):
        if rank == 0:
            file.unlink() if damaged is None else file.write_bytes(damaged)
        torch.distributed.barrier()
        found[name] = loading()
        found[f"{name}, and another shape"] = loading(model=model if rank else wide)
        torch.distributed.barrier()
    if rank == 0:
        file.write_bytes(data)
    found["is as before"] = state_of(model, optimizer) == before
    torch.distributed.barrier()
    altered = KINDS["fsdp"]()
    altered.register_load_state_dict_pre_hook(lambda _, state, *__: state["1.weight"].to_local().data.add_(1))
    found["in place"] = loading(model=altered)
    torch.distributed.barrier()
    found["whole again"] = loading()
    loaded = state_of(model, optimizer)
    if rank == 0:
        for one in folder.glob("fsdp.*"):
            one.write_bytes(bytes(one.stat().st_size))
    torch.distributed.barrier()
    found["is apart from the files"] = state_of(model, optimizer) == loaded
    return found


def main(place: str, job: str, *kinds: str) -> None:
    folder = Path(place)
    torch.set_num_threads(1)
    if not job.endswith("alone"):
        meet()
    rank = int(os.environ["RANK"])
    found: dict[str, Any] = {}
    with reproducible(seed=0, per_rank=job == "save apart"):
        for kind in kinds:
            if job.startswith("save"):
                model, optimizer = trained(kind)
                save_checkpoint(folder / f"{kind}.safetensors", model=model, optimizer=optimizer, step=7)
                found[kind] = state_of(model, optimizer)
            elif job.startswith("load"):
                found[kind] = state_of(*load(folder, kind))
            else:
                found[kind] = refusal(partial(load, folder, kind))
        if job == "refuse":
            found |= refusals(folder)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
