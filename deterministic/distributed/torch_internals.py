"""What torch documents nowhere: the order of a backward pass, and what `fully_shard` (FSDP2) does with gradients.

Read in torch 2.13: torch/csrc/autograd/engine.cpp, torch/distributed/fsdp/_fully_shard. A torch without the latter is
told of by name when a sharded model is passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed
from torch import Tensor, nn

from ..ground.torch_names import require

require("distributed")


def run_at_once(node: Any) -> None:
    """Let a backward pass run a node as soon as all has come to it; else what was computed later goes first."""
    getattr(node, "_set_sequence_nr", lambda number: None)(1 << 62)


def at_the_end(work: Callable[[], None]) -> None:
    """Let the backward pass in which this is called do something when it has come through."""
    engine: Any = torch.autograd.Variable._execution_engine
    engine.queue_callback(work)


def is_fully_sharded(module: object) -> bool:
    """Return whether `fully_shard` was called on a module."""
    kind = getattr(getattr(torch.distributed, "fsdp", None), "FSDPModule", None)
    return kind is not None and isinstance(module, kind)


def sharded_parts(model: nn.Module) -> list[Any]:
    """Return the modules on which `fully_shard` was called, with those that were passed in one list as one."""
    parts: list[Any] = [part for part in model.modules() if is_fully_sharded(part)]
    return [*{id(part._get_fsdp_state()): part for part in reversed(parts)}.values()][::-1]


def groups_of(part: Any) -> list[Any]:
    """Return the groups of parameters that a part gathers and reduces together."""
    return list(part._get_fsdp_state()._fsdp_param_groups)


def own_communication(group: Any) -> str | None:
    """Return the name of what was set in place of a group's own reduction; None if nothing was."""
    if type(group._reduce_scatter_comm).__name__ != "DefaultReduceScatter":
        return type(group._reduce_scatter_comm).__name__
    if group._all_reduce_hook is not None:
        return "set_all_reduce_hook"
    return None if group.gradient_divide_factor is None else "set_gradient_divide_factor"


def reduced_type(group: Any, parameter: Tensor) -> torch.dtype:
    """Return the type in which a parameter's gradients are added up."""
    policy = group.mp_policy
    found: torch.dtype = policy.reduce_dtype or policy.param_dtype or parameter.dtype
    return found


def begin_to_gather(model: Any) -> Callable[[], None]:
    """Begin to gather what a sharded model itself gathers first of all, and return what takes that back."""
    gathering = model.unshard(async_op=True)

    def take_back() -> None:
        gathering.wait()
        model.reshard()

    return take_back


def take_gradients(parts: list[Any]) -> list[Tensor | None]:
    """Return a rank's own gradient of each parameter, not reduced yet, and leave it none."""
    return [_take(one) for one in _parameters(parts)]


def reduce_gradients(parts: list[Any], gradients: list[Tensor | None], wanted: set[int]) -> None:
    """Let a model reduce the wanted of these over the ranks and put them into `.grad`; one that is not there is 0."""
    for place, (one, gradient) in enumerate(zip(_parameters(parts), gradients, strict=True)):
        if gradient is None and place in wanted:
            gradient = torch.zeros_like(one.unsharded_param, dtype=one.reduce_dtype)
        one.unsharded_accumulated_grad = gradient if place in wanted else None
    if wanted:
        parts[0]._get_fsdp_state()._root_post_backward_final_callback()


def _parameters(parts: list[Any]) -> list[Any]:
    return [one for part in parts for group in groups_of(part) for one in group.fsdp_params]


def _take(parameter: Any) -> Tensor | None:
    if not hasattr(parameter, "_unsharded_param"):  # never gathered yet
        return None
    gradient: Tensor | None = parameter.unsharded_accumulated_grad
    if gradient is None:
        gradient = parameter.unsharded_param.grad
    parameter.unsharded_accumulated_grad = parameter.unsharded_param.grad = None
    return gradient
