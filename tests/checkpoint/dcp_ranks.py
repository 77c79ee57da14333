"""Directories of torch.distributed.checkpoint on ranks: `python -m tests.ranks 2 tests.checkpoint.dcp_ranks FOLDER`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from deterministic import reproducible, save_checkpoint
from deterministic.checkpoint import from_dcp, to_dcp

from ..ranks import meet
from ..sharded import trained
from .sharded_states import fresh, refusal, state_of


def main(place: str) -> None:
    torch.set_num_threads(1)
    meet()
    found, folder = {}, Path(place)
    with reproducible(seed=0):
        model, optimizer = trained("fsdp")
        save_checkpoint(folder / "fsdp.safetensors", model=model, optimizer=optimizer, step=7)
        optimizer.zero_grad()
        if dist.get_rank() == 0:
            to_dcp(folder / "fsdp.safetensors", folder / "exported")
        of_model, of_optimizer = get_state_dict(model, optimizer)
        save({"model": of_model, "optimizer": of_optimizer}, checkpoint_id=folder / "torch")
        found["saved"] = state_of(model, optimizer)

        model, optimizer = fresh("fsdp")
        of_model, of_optimizer = get_state_dict(model, optimizer)
        load({"model": of_model, "optimizer": of_optimizer}, checkpoint_id=folder / "exported")
        set_state_dict(model, optimizer, model_state_dict=of_model, optim_state_dict=of_optimizer)
        found["torch's load of ours"] = state_of(model, optimizer)
        for source in ("exported", "torch"):
            model, optimizer = fresh("fsdp")
            assert from_dcp(folder / source, model=model, optimizer=optimizer) == {}
            found[f"our load of {source}"] = state_of(model, optimizer)
        found["refused"] = refusal(lambda: from_dcp(folder / "torch", other=model))
        elsewhere = folder / ("nowhere" if dist.get_rank() else "torch")
        found["on one"] = refusal(lambda: from_dcp(elsewhere, model=model))
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
