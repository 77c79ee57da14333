"""Real ranks, started by torchrun: they see what the ranks that are only played see, and train to the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ..processes import ROOT
from .datasets import epochs
from .test_ranks import as_rank, global_batches, over

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]

SCRIPT = """
import json, os, sys
import torch, torch.distributed
from tests.data.datasets import batches, epochs
from tests.data.test_ranks import loaded, over

folder, *jobs = sys.argv[1:]
torch.set_num_threads(1)
launchers = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE")}
loader = over(43, num_workers=1)
assert loader.batch_size == 8, "it is made before anything says how many ranks there are"
os.environ.update(launchers)
torch.distributed.init_process_group("gloo")
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
    torch.manual_seed(rank)  # DDP gives every rank the weights of rank 0
    model = torch.nn.Sequential(torch.nn.Linear(7, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = over(43, drop_last=True)
    for epoch in range(2):
        for batch in loader:
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
    found["weights"] = [parameter.tolist() for parameter in model.parameters()]

torch.distributed.destroy_process_group()
with open(f"{folder}/{rank}.json", "w") as file:
    json.dump(found, file)
"""


def launch(folder: Path, processes: int, *jobs: str) -> list[dict[str, Any]]:
    """Run the script on so many processes, and return what each of them found."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    finished = subprocess.run(
        [*launcher, str(script), str(folder), *jobs],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def together(found: list[dict[str, Any]], name: str) -> Any:
    return global_batches([one[name] for one in found])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def four(folder: Path) -> list[dict[str, Any]]:
    return launch(folder, 4, "save")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    return launch(folder, 2, "train")


@pytest.fixture(scope="module")
def one(folder: Path, four: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return launch(folder, 1, "resume", "train")  # from the state that four have saved


def test_one_two_and_four_processes_see_the_same_global_batches(
    one: list[dict[str, Any]], two: list[dict[str, Any]], four: list[dict[str, Any]]
) -> None:
    expected = epochs(over(43), 1)[0]
    assert one[0]["batches"] == expected
    for found in (two, four):
        batches = together(found, "batches")
        assert batches[:-1] == expected[:-1]
        assert batches[-1][:3] == expected[-1]
        assert len(batches[-1]) == 4
        assert {rank["length"] for rank in found} == {6}
        assert {rank["batch_size"] for rank in found} == {8 // len(found)}


def test_played_ranks_see_what_real_ones_see(two: list[dict[str, Any]], four: list[dict[str, Any]]) -> None:
    for found in (two, four):
        for rank, real in enumerate(found):
            with as_rank(rank, len(found)):
                assert epochs(over(43), 1)[0] == real["batches"]


def test_what_four_processes_saved_one_resumes(
    one: list[dict[str, Any]], four: list[dict[str, Any]], folder: Path
) -> None:
    states = {(folder / f"state{rank}.json").read_text() for rank in range(4)}
    assert len(states) == 1, "every rank saves the same"
    uninterrupted = epochs(over(43), 2)[1][2:]
    rest = together(four, "rest")
    assert one[0]["rest"] == uninterrupted
    assert rest[:-1] == uninterrupted[:-1]
    assert rest[-1][:3] == uninterrupted[-1]


def test_a_ddp_training_has_the_same_weights_every_time_and_on_every_rank(
    one: list[dict[str, Any]], two: list[dict[str, Any]], folder: Path
) -> None:
    again = launch(folder, 2, "train")
    weights = two[0]["weights"]
    assert [rank["weights"] for rank in (*two, *again)] == [weights] * 4
    # One process averages the same samples at once: the same up to the order of the sums, so both ranks had their part.
    for ours, alone in zip(weights, one[0]["weights"], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(alone))
    assert again[0]["batches"] == two[0]["batches"]
