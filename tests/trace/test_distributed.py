"""Several processes: a trace for each rank, collectives without what is still under way, DTensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deterministic import diff
from deterministic.trace.comparing.reasons import Reason
from deterministic.trace.file.model import Site
from deterministic.trace.file.store import TraceReader

from ..processes import run_python
from ..ranks import launch
from .collectives import KINDS
from .collectives import LEVELS as COLLECTIVES_LEVELS

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no collectives")


def operations(path: Path) -> list[Site]:
    with TraceReader(path) as trace:
        records = [record for segment in trace.segments() for record in segment.records]
        return [trace.sites[record] for record in records if trace.sites[record].kind == "operation"]


@pytest.mark.slow
def test_each_rank_records_its_own_trace_the_same_in_two_launches(tmp_path: Path) -> None:
    for hash_seed, name in enumerate(("one", "other")):
        (tmp_path / name).mkdir()
        launch(2, "tests.trace.ranks_training", tmp_path / name, PYTHONHASHSEED=str(hash_seed))
    for rank in range(2):
        one, other = (tmp_path / name / f"a.rank{rank}.trace" for name in ("one", "other"))
        assert diff(one, other).outcome == "same"
    assert diff(tmp_path / "one" / "a.rank0.trace", tmp_path / "one" / "a.rank1.trace").outcome == "different"

    sites = operations(tmp_path / "one" / "a.rank0.trace")
    collectives = [site for site in sites if site.name.startswith("c10d.allreduce_")]
    assert len(collectives) == 3  # one for each step, and that of the script: none of ours
    assert all(value.role != "output" for site in collectives for value in site.values)
    multiplied = sites[max(index for index, site in enumerate(sites) if site in collectives) + 1]
    assert multiplied.name == "aten.mul.Tensor"
    assert [value.origin.split()[0] for value in multiplied.values if value.role == "input"] == ["collective"]
    reduced = [v for site in sites for v in site.values if v.origin.startswith("collective") and v.role == "input"]
    assert len(reduced) > 1  # what DDP reduced is hashed where it is read


@pytest.fixture(scope="module")
def collectives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of traces of all kinds of collectives: of two equal launches, and of one in which rank 1 adds one."""
    folder = tmp_path_factory.mktemp("collectives")
    for number, (name, added) in enumerate((("one", 0), ("other", 0), ("faulty", 1))):
        (folder / name).mkdir()
        # Memory that is allocated is filled with something else each time (glibc).
        launch(2, "tests.trace.collectives", folder / name, str(added), MALLOC_PERTURB_=str(number + 1))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", COLLECTIVES_LEVELS)
def test_a_collective_is_accused_only_where_another_rank_is_at_fault(kind: str, level: str, collectives: Path) -> None:
    one, other, faulty = (collectives / name / f"{kind} {level}.trace" for name in ("one", "other", "faulty"))
    assert not diff(one, other), str(diff(one, other))
    innocent, culprit = diff(one, faulty).verdicts
    assert culprit.cause is not None
    assert culprit.cause.reason is Reason.NUMBER
    assert "other was 0.0 in the first run, 1.0 in the second" in culprit.cause.because
    assert innocent.cause is not None
    assert innocent.cause.reason is Reason.COLLECTIVE, str(innocent)
    assert "other ranks" in innocent.cause.remedy
    assert innocent.comparison is not None
    divergence = innocent.comparison.divergence
    assert divergence is not None
    assert divergence.first is not None
    assert divergence.first.site.place.startswith("tests/trace/collectives.py:")


DTENSOR = """
import os, sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from tests.trace.recorded import recorded

torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
local = torch.arange(6.0).view(2, 3)

def body():
    x = distribute_tensor(local, mesh, [Shard(0)]).requires_grad_()
    (x.sin() * 2).sum().full_tensor().backward()
    recorder = __import__("deterministic.trace.recording.seeding", fromlist=["ACTIVE"]).ACTIVE[-1]
    recorder.observe("it", x)
    return x.grad.to_local()

for level in ("values", "ops+inputs"):
    found = recorded(body, level)
    assert recorded(body, level).hashes() == found.hashes()
assert torch.equal(found.result, local.cos() * 2)
assert [e.values("output") for e in found.named("sin")] == [[("float32[2, 3]", "")]]
assert [e.site.values[0].type for e in found.all("observed")] == ["DTensor"]
dist.destroy_process_group()
print("recorded")
"""


@pytest.mark.usefixtures("warm_pythons")
def test_the_plain_operations_inside_a_dtensor_are_recorded(tmp_path: Path) -> None:
    assert run_python(DTENSOR, str(tmp_path / "meeting"), PYTHONHASHSEED="0") == "recorded"
