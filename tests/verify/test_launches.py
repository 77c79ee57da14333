"""`deterministic verify --world-sizes` with torchrun: scripts that are the same, differ, fail, or do not end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from deterministic.cli import main

from ..processes import ROOT

TRAIN = """\
import sys
import torch
import torch.distributed as dist
from torch import nn
from deterministic import make_loader
from deterministic.distributed import world_invariant

dist.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1)))
if "plain" not in sys.argv:
    world_invariant(model, shards=2)
optimizer = torch.optim.AdamW(model.parameters())
data = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
for batch in make_loader(data, global_batch_size=32, shuffle=True):
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()
dist.destroy_process_group()
"""

FAILS = """\
import os, sys, time
if os.environ["RANK"] == "1":
    print("before")
    sys.stderr.write("no such luck\\n")
    sys.exit(7)
if os.environ["WORLD_SIZE"] == "2":
    time.sleep(600)
import torch
torch.optim.SGD([torch.zeros(1)]).step()
"""

SLEEPS = """\
import os, signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(f"pid{os.environ['RANK']}").write_text(str(os.getpid()))
time.sleep(600)
"""

needs_torchrun = pytest.mark.skipif(
    not torch.distributed.is_available() or os.name != "posix", reason="there is no torchrun, or it cannot be ended"
)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    return tmp_path / "train.py"


@pytest.mark.slow
@needs_torchrun
def test_a_world_invariant_training_is_the_same_on_one_rank_and_two(
    script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script.write_text(TRAIN)
    assert main(["verify", "--world-sizes", "1,2", "train.py"]) == 0
    assert capfd.readouterr().out == "the same on 1 and 2 ranks: train.py, 2 steps each\n"


@pytest.mark.slow
@needs_torchrun
def test_plain_data_parallelism_differs_at_a_parameter(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text(TRAIN)
    assert main(["verify", "--world-sizes", "1,2", "train.py", "plain"]) == 1
    headline, first, what, *_ = capfd.readouterr().out.splitlines()
    assert headline == "not the same on 1 and 2 ranks: train.py plain differs first at step 0 of 2"
    assert first == "  first difference  0.weight of Linear, after step 0 of AdamW"
    assert what.startswith("  what differs      float32[32, 8]; ")
    assert " of 256 elements, by up to " in what


@pytest.mark.slow
@needs_torchrun
def test_a_rank_that_fails_is_told_of_with_its_last_lines(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text(FAILS)
    assert main(["verify", "--world-sizes", "1,2", "train.py"]) == 2
    assert capfd.readouterr().out.splitlines() == [
        "could not tell whether train.py is the same on 1 and 2 ranks",
        "  on 2 ranks: rank 1 ended early, with exit status 7",
        "  before",
        "  no such luck",
    ]


@pytest.mark.slow
@needs_torchrun
def test_a_module_that_is_not_there_is_refused(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--world-sizes", "1,2", "-m", "no_such_module"]) == 2
    assert "deterministic verify: error: no module named 'no_such_module' that can be run" in capfd.readouterr().err


@pytest.mark.slow
@needs_torchrun
def test_the_timeout_ends_it(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script.write_text(SLEEPS)
    assert main(["verify", "--world-sizes", "1,2", "--timeout", "0.2", "train.py"]) == 2
    assert "  on 1 rank: was ended after 0.2 seconds, the timeout\n" in capfd.readouterr().out


@pytest.mark.slow
@needs_torchrun
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_ctrl_c_leaves_no_rank_that_does_not_listen(script: Path) -> None:
    script.write_text(SLEEPS)
    command = [sys.executable, "-m", "deterministic", "verify", "--world-sizes", "2,1", "train.py"]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE) as verifying:
        try:
            ranks = [script.parent / f"pid{rank}" for rank in (0, 1)]
            while not all(path.exists() and path.read_text() for path in ranks):
                assert verifying.poll() is None
                time.sleep(0.05)
        finally:
            verifying.send_signal(signal.SIGINT)
        verifying.communicate(timeout=300)
    assert verifying.returncode == 130
    left = [int(path.read_text()) for path in ranks]
    while any(map(_is_alive, left)):  # the kernel has told them to end
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
