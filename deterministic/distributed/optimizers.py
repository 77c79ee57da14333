"""Optimizers whose step on sharded parameters depends on the number of ranks: refused before it moves anything."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakSet

from torch import nn
from torch.optim import optimizer as torch_optimizer

from ..errors import DeterministicError

_sharded: WeakSet[nn.Module] = WeakSet()


def watch_steps_of(model: nn.Module) -> None:
    """Refuse, from now on, steps on a model's sharded parameters that are others on another number of ranks.

    A step that takes each number by itself is the same however they are spread. These are not: the fused kernels of
    CPUs, which round the last numbers of a rank's part otherwise (the compiler fuses a product with a sum in what fills
    no vector), and Muon, whose products of matrices add up over what a rank has. Seen with torch 2.13. What others do,
    as with norms of parameters, is not known.
    """
    _sharded.add(model)
    _watch()


@functools.cache
def _watch() -> None:
    torch_optimizer.register_optimizer_step_pre_hook(_require_each_number_by_itself)


def _require_each_number_by_itself(optimizer: Any, *_: object) -> None:
    found = ""
    if type(optimizer).__name__ == "Muon":
        found = "Muon, which multiplies matrices that are spread over the ranks"
    elif any(group.get("fused") and any(one.is_cpu for one in group["params"]) for group in optimizer.param_groups):
        found = f"{type(optimizer).__name__}(fused=True) on CPUs, which rounds otherwise where a rank's part ends"
    own = {id(parameter) for model in _sharded for parameter in model.parameters()} if found else ()
    if any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise DeterministicError(
            "an optimizer's step on sharded parameters depends on the number of ranks",
            (f"found: {found}",),
            "Take one that computes each number by itself, as AdamW(fused=False), or DistributedDataParallel.",
        )
