"""`deterministic verify` of a script by two ranks that meet as those of torchrun do, in a store that outlives them.

`python -m tests.ranks 2 tests.verify.under_torchrun FOLDER`
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from deterministic.cli import main as command

SCRIPT = """
import os, torch, torch.distributed as dist
from deterministic import current_run
dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(2):
    model(torch.randn(4, 3)).mean().backward()
    optimizer.step()
if dist.get_rank() == 1:
    current_run().observe("mine", os.getpid())
dist.destroy_process_group()
"""

_open: list[Any] = []


def prepare() -> None:
    """Open the store, as torchrun's agent does before it starts the ranks."""
    import torch.distributed

    distributed: Any = torch.distributed
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    _open.append(store)
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(store.port), TORCHELASTIC_USE_AGENT_STORE="True", OMP_NUM_THREADS="1"
    )


def main(folder: str) -> None:
    rank = os.environ["RANK"]
    script = Path(folder, f"rank{rank}", "script.py")
    script.parent.mkdir()
    script.write_text(SCRIPT)
    traces = Path(folder, "traces")
    traces.mkdir(exist_ok=True)
    with open(Path(folder, f"rank{rank}.txt"), "w") as file, contextlib.redirect_stdout(file):
        command(["verify", "--runs", "2", "--keep-traces", str(traces), str(script)])
