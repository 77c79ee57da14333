"""Collectives of all kinds, each recorded by two ranks: what one of them sends depends on an argument.

`python -m tests.ranks 2 tests.trace.collectives FOLDER ADDED`: of the traces, and to what rank 1 computes with.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import _functional_collectives as functional

from deterministic import record

from ..ranks import meet

LEVELS = ("ops", "ops+inputs")

ADDED, RANK = 0.0, 0


def x() -> Tensor:
    return torch.arange(4.0) + RANK + ADDED


def into(memory: Any, collective: Callable[..., Any], *arguments: Any) -> Any:
    collective(memory, *arguments)
    return memory


def fsdp() -> None:
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    for module in (*model, model):
        fully_shard(module)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(x()).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def asynchronous() -> Tensor:
    memory = x()
    work = dist.all_reduce(memory, async_op=True)
    assert work is not None
    work.wait()
    return memory[2:]


def reduced() -> Tensor | None:
    memory = into(x(), dist.reduce, 0)
    return None if RANK else memory


def gathered() -> Tensor | None:
    both = None if RANK else [torch.empty(4), torch.empty(4)]
    dist.gather(x(), both)
    return None if both is None else both[1]


def received() -> Tensor | None:
    if not RANK:
        return into(torch.empty(4), dist.recv, 1)  # type: ignore[no-any-return]
    dist.send(x(), 0)
    return None


def exchanged() -> Tensor:
    memory = torch.empty(4)
    for work in (dist.irecv(memory, 1 - RANK), dist.isend(x(), 1 - RANK)):
        assert work is not None
        work.wait()
    return memory[2:]


def objects() -> Tensor:
    found = [x()[0].item()]
    dist.broadcast_object_list(found, 1)
    return torch.full((2,), found[0])


def differentiated(collective: Callable[[Tensor], Tensor]) -> Tensor:
    leaf = x().requires_grad_()
    (collective(leaf) ** 2).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def group() -> Any:
    return dist.group.WORLD


KINDS: dict[str, Callable[[], Tensor | None]] = {
    "fsdp": fsdp,
    "all_reduce": lambda: into(x(), dist.all_reduce),
    "all_reduce_asynchronous": asynchronous,
    "broadcast": lambda: into(x(), dist.broadcast, 1),
    "all_gather": lambda: into([torch.empty(4), torch.empty(4)], dist.all_gather, x())[1],
    "all_gather_into_tensor": lambda: into(torch.empty(8), dist.all_gather_into_tensor, x()),
    "reduce_scatter": lambda: into(torch.empty(2), dist.reduce_scatter, [x()[:2], x()[2:]]),
    "reduce_scatter_tensor": lambda: into(torch.empty(2), dist.reduce_scatter_tensor, x()),
    "reduce": reduced,
    "gather": gathered,
    "scatter": lambda: into(torch.empty(4), dist.scatter, [x(), x()] if RANK else None, 1),
    "all_to_all_single": lambda: into(torch.empty(4), dist.all_to_all_single, x()),
    "recv": received,
    "irecv": exchanged,
    "broadcast_object_list": objects,
    "functional_all_reduce": lambda: functional.all_reduce(x(), "sum", group()),
    "functional_all_reduce_coalesced": lambda: functional.all_reduce_coalesced([x(), x()], "sum", group())[0],
    "functional_all_gather": lambda: functional.all_gather_tensor(x(), 0, group()),
    "functional_reduce_scatter": lambda: functional.reduce_scatter_tensor(x(), "sum", 0, group()),
    "functional_broadcast": lambda: functional.broadcast(x(), 1, group()),
    "functional_all_to_all": lambda: functional.all_to_all_single(x(), None, None, group()),
    "autograd_all_gather": lambda: differentiated(lambda y: functional.all_gather_tensor_autograd(y, 0, group())),
    "autograd_reduce_scatter": lambda: differentiated(
        lambda y: functional.reduce_scatter_tensor_autograd(y, "sum", 0, group())
    ),
    "autograd_all_to_all": lambda: differentiated(
        lambda y: functional.all_to_all_single_autograd(y, [2, 2], [2, 2], group())
    ),
}


def main(folder: str, added: str) -> None:
    global ADDED, RANK
    warnings.simplefilter("ignore", FutureWarning)  # new names of some collectives
    torch.set_num_threads(1)
    RANK = int(os.environ["RANK"])
    ADDED = float(added) if RANK else 0.0
    meet()
    for level in LEVELS:
        for kind, run in KINDS.items():
            with record(os.path.join(folder, f"{kind} {level}.trace"), level):  # type: ignore[arg-type]
                result = run()
                if result is not None:
                    result * 2
            dist.barrier()
    dist.destroy_process_group()


def prepare() -> None:
    """Import what `fsdp` does, once for both ranks; the tests need only the names of what there is."""
    import torch.distributed.fsdp  # noqa: F401
