"""The forward of a model under `fully_shard` (FSDP2): each shard of a batch is a pass of its own, their sum is reduced.

FSDP gathers parameters as a module runs and lets their memory go, so a rank's shards cannot reach them by views. Each
shard goes through the whole model, and so do its gradients, without communication; a rank adds them up in a binary
tree, parameter by parameter, and FSDP reduces the sum by a reduce-scatter that adds up in the order of the ranks.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from ..errors import DeterministicError
from ..ground import torch_names
from .agreement import Agreement
from .forward import ForwardPerShard, no_gradient, nodes_behind
from .optimizers import watch_steps_of
from .reduction import tree_sum
from .shards import Batch
from .torch_internals import (
    begin_to_gather,
    groups_of,
    is_fully_sharded,
    own_communication,
    reduce_gradients,
    reduced_type,
    sharded_parts,
    take_gradients,
)


def shard_calls(model: Any, shards: int, shared: Collection[str] | None, ranks: Agreement) -> None:
    """Let calls of a sharded model go shard by shard, and its gradients be added up in one tree.

    FSDP gathers parameters in hooks around `forward`, so it is `__call__` that has to be another one: the model gets a
    class of its own, with the name of the one that `fully_shard` made.
    """
    base = type(model)
    per_shard = FullyShardedForward(
        model, functools.partial(base.__call__, model), shards, shared, ranks, named=model.forward
    )
    model.__class__ = type(
        base.__name__,
        (base,),
        {
            "__call__": lambda self, *args, **kwargs: per_shard(*args, **kwargs),
            "__new__": lambda cls, *args, **kwargs: base.__new__(base, *args, **kwargs),  # a slice of a Sequential
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            "per_shard": per_shard,
        },
    )
    for part in sharded_parts(model):
        part.set_custom_reduce_scatter(_TreeReduceScatter())
        part.set_all_reduce_hook(per_shard.require_own_pass)
    watch_steps_of(model)


class FullyShardedForward(ForwardPerShard):
    """Each shard is a forward and a backward pass of the whole model."""

    def __init__(self, *of: Any, **named: Any) -> None:
        super().__init__(*of, **named)
        self._parts = sharded_parts(self._module)
        self._is_reducing = False
        self._expected: set[int] = set()  # the parameters of which any rank had gradients last time

    def _in_eval(self, args: Any, kwargs: dict[str, Any]) -> Any:
        outputs = self._forward(*args, **kwargs)
        return tree_map(lambda leaf: no_gradient(leaf) if _needs_gradient(leaf) else leaf, outputs)

    def _run_all(self, count: int, run: Any) -> None:
        for _ in range(count):
            run({})

    def _begin(self, count: int, args: Any, kwargs: dict[str, Any]) -> tuple[Batch, int, Callable[[], None]]:
        batch, number, require_alike = super()._begin(count, args, kwargs)
        batch.cut_off()
        return batch, number, require_alike

    def _meanwhile(self) -> Callable[[], None]:
        # The ranks agree before the shards: those gather parameters, and a rank that raises would not. All gather the
        # first ones, whatever comes of it.
        return begin_to_gather(self._module)

    def _joined(self, outputs: list[Any], batch: Batch) -> list[Any]:
        """Cut the shards' passes off from the caller's, which goes on in theirs as soon as it has come to the cut."""
        if not self._is_known:
            deque(nodes_behind(outputs), maxlen=0)
            self._is_known = True
        flat = [tree_flatten(output) for output in outputs]
        own = [[leaf for leaf in leaves if _needs_gradient(leaf)] for leaves, _ in flat]
        anchor = torch.empty(0, requires_grad=True)
        inputs = (outer for outer, _ in batch.cut)
        joined = iter(_join(self, own, batch.cut, anchor, *inputs) if any(own) else ())
        return [
            tree_unflatten([next(joined) if _needs_gradient(leaf) else leaf for leaf in leaves], spec)
            for leaves, spec in flat
        ]

    def _needs_all_ranks(self) -> bool:
        return True  # they gather parameters

    def _obstacle(self) -> DeterministicError | None:
        if all(group.reduce_grads for part in self._parts for group in groups_of(part)):
            return None
        return DeterministicError(
            "gradients would be added up on each rank first, and that sum depends on the ranks",
            ("found: set_requires_gradient_sync(False)",),
            "Leave it on: what several backward passes add up is then the same on any number of ranks.",
        )

    def backward(self, outputs: list[list[Tensor]], gradients: list[Tensor | None]) -> None:
        """Let what has come to the shards' outputs go on through each shard, and reduce the sum over the shards."""
        came = iter(gradients)
        passes = [[(output, gradient) for output in own if (gradient := next(came)) is not None] for own in outputs]
        sums: list[tuple[int, list[Tensor | None]]] = []
        model: Any = self._module
        model.set_requires_gradient_sync(False)
        try:
            for one in reversed(passes):  # as FSDP expects them: it gathers for the last call first
                torch.autograd.backward([output for output, _ in one], [gradient for _, gradient in one])
                sums.append((0, take_gradients(self._parts)))
                while len(sums) > 1 and sums[-1][0] == sums[-2][0]:
                    (level, first), (_, second) = sums.pop(), sums.pop()
                    sums.append((level + 1, [*map(_added, first, second)]))
        finally:
            model.set_requires_gradient_sync(True)
            take_gradients(self._parts)
        ((_, total),) = sums
        self._is_reducing = True
        try:
            self._reduce(total)
        finally:
            self._is_reducing = False
        self._put_back()

    def _reduce(self, total: list[Tensor | None]) -> None:
        """Reduce the gradients that any rank has.

        Those that were there last time are reduced while the ranks tell each other which there are: by a rank that has
        them all, for then they are wanted, whatever the others have; by another one when it knows so. If no rank has
        them all, each knows that none does, and what is there is reduced at once.
        """
        told = self._ranks.numbers(*(gradient is not None for gradient in total))

        def there() -> set[int]:
            return {place for had in told() for place, is_there in enumerate(had) if is_there}

        first = self._expected
        if any(total[place] is None for place in first) and not first <= there():
            first = there()
        reduce_gradients(self._parts, total, first)
        self._expected = there()
        reduce_gradients(self._parts, total, self._expected - first)

    def require_own_pass(self, _: Tensor) -> None:
        """Refuse gradients that FSDP reduces without having come through the model as a whole."""
        if not self._is_reducing:
            raise DeterministicError(
                "a part of a sharded model was trained by itself, and its batches are not cut into shards then",
                ("found: gradients that did not come through the model that world_invariant was given",),
                "Call the whole model, and let its forward call the part.",
            )


class _Joint(torch.autograd.Function):
    """Where the caller's graph ends and those of the shards begin."""

    @staticmethod
    def forward(ctx: Any, owner: Any, own: list[list[Tensor]], cut: Any, anchor: Tensor, *inputs: Tensor) -> Any:
        ctx.owner, ctx.own, ctx.cut = owner, own, cut
        ctx.set_materialize_grads(False)
        return tuple(output.detach() for outputs in own for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        if ctx.own is None or torch.is_grad_enabled():
            found = "gradients of gradients" if ctx.own else "a second backward pass through one call"
            _refuse(found, "Add the losses up, and call backward() once, without create_graph.")
        own, ctx.own = ctx.own, None
        ctx.owner.backward(own, [*gradients])
        return None, None, None, None, *(inner.grad for _, inner in ctx.cut)


_join: Callable[..., tuple[Tensor, ...]] = _Joint.apply


def _needs_gradient(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return the sum of two gradients; one that is not there is zero."""
    if one is None:
        one, other = other, one
    return one if one is None else one + (0 if other is None else other)


class _TreeReduceScatter:
    """What FSDP calls to add up the ranks' gradients, of which each rank keeps its part."""

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> None:
        received = torch.empty_like(input_tensor)
        dist.all_to_all_single(received, input_tensor, group=group)
        tree_sum(received.view(group.size(), -1), out=output_tensor)
        if op == dist.ReduceOp.AVG:  # else FSDP divides afterwards
            output_tensor.div_(group.size())


def require(model: Any, ranks: int) -> None:
    """Raise what speaks against a model of which parts are sharded, as far as this rank alone can tell."""
    torch_names.require("distributed.fsdp")
    if not is_fully_sharded(model):
        _refuse(f"{type(model).__name__}, of which parts are sharded", "Call fully_shard on the model itself, too.")
    for name, parameter in model.named_parameters():
        mesh: Any = getattr(parameter, "device_mesh", None)
        placements: Any = getattr(parameter, "placements", None)
        if mesh is None:
            _refuse(f"{name}, which is whole on each rank", "Leave ignored_params out.")
        if mesh.mesh.tolist() != [*range(ranks)] or len(placements) != 1 or not placements[0].is_shard():
            _refuse(
                f"{name}, {placements} over a mesh of {[*mesh.mesh.shape]} of {ranks} ranks",
                "Let fully_shard use one mesh of all ranks: without replicas or tensor parallelism.",
            )
    for part in sharded_parts(model):
        groups = groups_of(part)
        if len(groups) > 1:
            _refuse("parameters on meshes of their own", "Leave shard_placement_fn out.")
        for group in groups:
            if own := own_communication(group):
                _refuse(own, "Leave it out: world_invariant has a reduction of its own.")
            if isinstance(group.offload_policy, torch.distributed.fsdp.CPUOffloadPolicy):
                _refuse("CPUOffloadPolicy", "Leave offload_policy out.")
            kinds = {reduced_type(group, parameter) for parameter in model.parameters()}
            if torch.float16 in {group.mp_policy.param_dtype, *kinds}:
                _refuse("gradients in float16", "Pass MixedPrecisionPolicy with torch.bfloat16 or torch.float32.")


def _refuse(found: str, remedy: str) -> NoReturn:
    raise DeterministicError(
        "a sharded model cannot be trained alike on any number of ranks", (f"found: {found}",), remedy
    )
