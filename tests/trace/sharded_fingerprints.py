"""Fingerprints of sharded values: `python -m tests.ranks COUNT tests.trace.sharded_fingerprints FOLDER KIND...`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Shard

from deterministic import fingerprint
from deterministic.values.hashes import read

from ..ranks import meet
from ..sharded import KINDS, UNSHARDED, gathered, trained


def main(place: str, *kinds: str) -> None:
    torch.set_num_threads(1)
    meet()
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    found: dict[str, str] = {}
    for kind in kinds:
        found[kind] = fingerprint(KINDS[kind]())
        assert found[kind] == fingerprint(KINDS[UNSHARDED[kind]]())
        net, optimizer = trained(kind)
        for value in (net.state_dict(), optimizer.state_dict(), [parameter.grad for parameter in net.parameters()]):
            assert any(isinstance(one, DTensor) for one in net.state_dict().values())
            assert fingerprint(value) == fingerprint(gathered(value)) != fingerprint(value, full=False)
            assert fingerprint(value, layout=True) == fingerprint(gathered(value), layout=True)
        if rank == 0:  # on one rank alone: nothing waits for the others
            assert fingerprint(net, full=False) != fingerprint(net.state_dict()["1.bias"], full=False)
            weight = net.get_parameter("1.weight")
            assert read(weight) == (type(weight).__name__, int(fingerprint(weight, full=False)[:16], 16))
    partial = DTensor.from_local(torch.full((2,), rank + 1.0), init_device_mesh("cpu", (count,)), [Partial()])
    assert fingerprint(partial) == fingerprint(torch.full((2,), count * (count + 1) / 2))
    if count > 1:
        one = DTensor.from_local(torch.ones(2), DeviceMesh("cpu", [0]), [Shard(0)], run_check=False)
        try:
            found["elsewhere"] = fingerprint({"weight": one})
        except TypeError as error:
            found["elsewhere"] = str(error)
    (Path(place) / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
