"""`world_invariant`: the same weights on any number of ranks; `invariant`: a loss that is more than a plain mean."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import DeterministicError, type_error, value_error
from ..ground.arguments import count
from ..ground.ranks import the_ranks
from . import fsdp
from .agreement import Agreement
from .forward import ForwardPerShard, nodes_behind
from .reduction import register, require_plain, tree_sum
from .shards import Batch, names_of
from .torch_internals import sharded_parts
from .views import ShardedForward

Module = TypeVar("Module", bound=nn.Module)


def world_invariant(model: Module, *, shards: int = 8, shared: Collection[str] | None = None) -> Module:
    """Let a training have the same weights, bit for bit, on 1, 2, 4, ... ranks, or on 3, 6, 12, ...; return the model.

    Each global batch is so many shards, in order: a rank goes over its part of them one after the other, and their
    gradients are added up in one binary tree, within a rank and over the ranks. So one process, two ranks and four end
    with the same parameters, buffers and optimizer states, and so do three and six; the loop, the names and
    `state_dict()` stay as they are. Three ranks end with others than two: a mean over a third of a batch is rounded
    otherwise. Give every rank its part of the same global batches:
    `make_loader(..., global_batch_size=, drop_last=True)`.

    In train mode (`model.training`, also without gradients) each shard goes through the module by itself: batch norm
    sees a shard, and its running statistics are the mean over all shards. What the module draws (dropout) depends on a
    number that is drawn from torch's generator in each call with gradients, and on the shard; so all ranks are seeded
    alike. The loss over what a rank's samples return has to be a plain mean (cross-entropy, MSE, Huber); wrap any other
    one in `invariant`.

    Every rank calls it at the same place, before the first step. Not thread-safe.

    Args:
        model: A DistributedDataParallel around the module, without a communication hook; on one process a module too.
            Or a model on which `fully_shard` was called, over one mesh of all ranks.
        shards: Of a global batch, of which it is a divisor; the number of ranks times a power of two. So 8 is for 1,
            2, 4 and 8 ranks, and 12 for 3, 6 and 12.
        shared: Names of arguments of the module's `forward` that hold no row for each sample, as an attention mask;
            needed where that cannot be told by their shape.

    Returns:
        The same model.

    Raises:
        TypeError: It is no module; `shards` is no integer.
        ValueError: `shards` is not the number of ranks times a power of two.
        DeterministicError: The model cannot be trained so (SyncBatchNorm, compiled, lazy or already wrapped modules, a
            hook, ranks without DistributedDataParallel), or the ranks disagree. All ranks raise, and nothing has
            changed.

    Example:
        >>> import torch
        >>> from deterministic import reproducible
        >>> from deterministic.distributed import world_invariant
        >>> with reproducible(seed=0):
        ...     model = world_invariant(torch.nn.Linear(3, 1), shards=4)
        ...     model(torch.ones(8, 3)).square().mean().backward()
        ...     model.weight.grad.shape
        torch.Size([1, 3])
    """
    ranks = Agreement()
    error, facts = None, {}
    try:
        _require(model, shards, ranks.count)
        facts = {name: [*parameter.shape] for name, parameter in model.named_parameters()}
    except (DeterministicError, TypeError, ValueError) as refused:
        error = refused
    ranks.require(error, shards=shards, shared_arguments=None if shared is None else [*shared], parameters=facts)
    if sharded_parts(model):
        fsdp.shard_calls(model, shards, shared, ranks)
        return model
    module: nn.Module = model
    if isinstance(model, nn.parallel.DistributedDataParallel):
        register(model)
        module = model.module
    module.forward = ShardedForward(module, module.forward, shards, shared, ranks)
    return model


def invariant(
    loss: Callable[..., Tensor], *, shards: int = 8, shared: Collection[str] | None = None
) -> Callable[..., Tensor]:
    """Return a loss that is computed for each shard by itself: the mean of the shards' losses, on any number of ranks.

    For a loss that is more than a mean over samples: with weights of classes or `ignore_index`, contrastive, or of
    statistics of the batch. It means another thing than over a whole batch: a contrastive loss compares the samples of
    one shard. Without gradients it is called as it is.

    Args:
        loss: Of a rank's outputs and targets, with a row for each sample in both; returns a tensor with one number.
        shards: As for `world_invariant`.
        shared: Names of arguments without rows, as a tensor of class weights.

    Returns:
        A function with the arguments of `loss`.

    Raises:
        ValueError: As `world_invariant`, for `shards`.
        DeterministicError: When it is called: the batch cannot be cut, the loss is not one number, or its gradient is
            not exactly twice as large for one that is (`logcumsumexp`).
    """
    size = the_ranks().world_size
    _require_shards(shards, size)
    names = names_of(loss)

    @functools.wraps(loss)
    def of_shards(*args: Any, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return loss(*args, **kwargs)
        number = shards // the_ranks().world_size
        batch = Batch(names, shared, args, kwargs)
        if batch.rows % number:
            raise DeterministicError(
                "a loss cannot be computed for equal shards",
                (f"found: {batch.rows} rows on this rank", f"expected: a multiple of {number}"),
                "Pass the rows of whole shards, samples first.",
            )
        parts = []
        for shard in range(number):
            own, named = batch.shard(shard, number)
            parts.append(loss(*own, **named))
            given = {leaf.grad_fn for leaf in tree_leaves((own, named)) if isinstance(leaf, Tensor)}
            deque(nodes_behind(parts[-1], given), maxlen=0)
        if any(part.dim() for part in parts):
            raise DeterministicError(
                "a loss is not one number",
                (f"found: a tensor of shape {[*parts[0].shape]}",),
                'Let it return a mean or a sum: reduction="mean".',
            )
        return tree_sum(torch.stack(parts)) / number

    return of_shards


def _require_shards(shards: object, ranks: int) -> None:
    number = count("shards", shards, least=1)
    of_each, rest = divmod(number, ranks)
    if rest or of_each & (of_each - 1):
        raise value_error(
            "the number of ranks does not divide shards" if rest else "a rank's shards are no power of two",
            (f"shards: {number}", f"ranks: {ranks}"),
            "Pass the number of ranks times 1, 2, 4, ...: 8 for 1, 2, 4 and 8 ranks, 12 for 3, 6 and 12.",
        )


def _require(model: object, shards: object, ranks: int) -> None:
    """Raise what speaks against a model, as far as this rank alone can tell."""
    if not isinstance(model, nn.Module):
        raise type_error("world_invariant takes a module", (f"found: {type(model).__qualname__}",), "Pass the model.")
    _require_shards(shards, ranks)
    is_ddp = isinstance(model, nn.parallel.DistributedDataParallel)
    for name, part in model.named_modules():
        if problem := _problem(part):
            where = f"{name or 'the model'}: {type(part).__qualname__}"
            raise DeterministicError(f"a model {problem[0]}", (f"found: {where}",), problem[1])
    if is_ddp:
        require_plain(model)
    if is_sharded := bool(sharded_parts(model)):
        fsdp.require(model, ranks)
    if ranks > 1 and not is_ddp and not is_sharded:
        raise DeterministicError(
            "a model on several ranks has nothing that adds their gradients up",
            (f"found: {type(model).__qualname__} on {ranks} ranks",),
            "Pass DistributedDataParallel(model).",
        )


def _problem(part: nn.Module) -> tuple[str, str] | None:
    """Return what is wrong with a module, and what to do; None if nothing is."""
    if any(isinstance(one, ForwardPerShard) for one in (part.forward, getattr(part, "per_shard", None))):
        return "is world-invariant already", "Call world_invariant once."
    if isinstance(part, nn.SyncBatchNorm):
        return "takes statistics over the ranks", "Use BatchNorm: it sees a shard, on any number of ranks."
    if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
        return "is compiled, and that code depends on the size of a batch", "Pass the module that was not compiled."
    if isinstance(part, nn.parallel.DataParallel):
        return "is cut into batches by DataParallel", "Use DistributedDataParallel."
    if type(part).__name__ == "FullyShardedDataParallel":
        return "is sharded by FSDP1", "Use fully_shard."
    if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None:
        return "changes weights in its forward, each rank others", "Leave max_norm out."
    if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.sparse:
        return "has sparse gradients, which are added up as they come", "Pass sparse=False."
    if any(one.dtype == torch.float16 and one.requires_grad for one in part.parameters(recurse=False)):
        return (
            "is trained in float16, of which gradients get too large or too small on one number of ranks alone",
            "Use float32 or bfloat16.",
        )
    if isinstance(part, torch.nn.modules.lazy.LazyModuleMixin) and part.has_uninitialized_params():
        return "has parameters that are not initialised", "Call it once first, in torch.no_grad()."
    return None
