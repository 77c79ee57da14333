"""The forward of a module that each rank has as a whole: the shards' gradients are added up in one tree by autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import register_multi_grad_hook
from torch.utils._pytree import tree_flatten

from ..errors import DeterministicError, explain
from .forward import ForwardPerShard, no_gradient
from .shards import Batch


class ShardedForward(ForwardPerShard):
    """Parameters reach the shards by views of views, two of each.

    So autograd adds two gradients up at each, in one tree, as the ranks' sums go on with. Views are made depth first,
    lest the gradients of all shards are alive at once, and used again by further calls until a backward pass has come
    through, so that calls before one backward pass are one sum a shard.
    """

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._views: list[dict[str, Tensor]] = []
        self._viewed: list[tuple[Tensor, bool]] = []
        self._is_known = False

    def __getstate__(self) -> dict[str, Any]:
        # Views that autograd knows cannot be copied.
        return {**self.__dict__, "_views": [], "_viewed": [], "_settled": []}

    def _in_eval(self, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._with(self._module, {name: no_gradient(p) for name, p in self._trained()}, args, kwargs)

    def _run_all(self, count: int, run: Callable[[dict[str, Tensor]], None]) -> None:
        if self._needs_views():
            self._fork(dict(self._trained()), count, run)
        else:
            for views in [*self._views]:
                run(views)

    def _joined(self, outputs: list[Any], batch: Batch) -> list[Any]:
        if not self._is_known:
            _require_one_pass(outputs[0])
            self._is_known = True
        return outputs

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, p) for name, p in self._module.named_parameters() if p.requires_grad)

    def _needs_views(self) -> bool:
        now = [*self._module.parameters()]
        return (
            not self._views
            or len(now) != len(self._viewed)
            or any(p is not one or p.requires_grad != was for p, (one, was) in zip(now, self._viewed, strict=True))
        )

    def _fork(self, parameters: dict[str, Tensor], count: int, run: Callable[[dict[str, Tensor]], None]) -> None:
        """Run every shard with views of the parameters."""
        self._views = []
        self._viewed = [(parameter, parameter.requires_grad) for parameter in self._module.parameters()]

        def fork(tensors: dict[str, Tensor], count: int) -> None:
            if count == 1:
                self._views.append(tensors)
                run(tensors)
                return
            for _ in range(2):
                fork({name: tensor.view_as(tensor) for name, tensor in tensors.items()}, count // 2)

        roots = {name: parameter.view_as(parameter) for name, parameter in parameters.items()}
        if roots:
            register_multi_grad_hook(tuple(roots.values()), self._arrived, mode="any")
            register_multi_grad_hook(tuple(roots.values()), self._put_back, mode="all")
        fork(roots, count)

    def _arrived(self, _: Tensor) -> None:
        """Refuse a gradient that would be added to another one: the order of these sums would depend on the ranks."""
        self._views = []
        for name, parameter in self._trained():
            if parameter.grad is not None and bool(parameter.grad.any()):
                raise DeterministicError(
                    explain(
                        "gradients are accumulated over several backward passes, and that sum depends on the ranks",
                        (f"found: {name}.grad is not zero",),
                        "Call optimizer.zero_grad() before backward(), and accumulate by a larger batch: a rank goes "
                        "over its shards anyway.",
                    )
                )


def _require_one_pass(outputs: Any) -> None:
    """Refuse layers that are checkpointed in the way that runs a backward pass within another one."""
    nodes = [leaf.grad_fn for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor) and leaf.grad_fn is not None]
    seen = {*nodes}
    while nodes:
        node = nodes.pop()
        if "CheckpointFunction" in node.name():
            raise DeterministicError(
                explain(
                    "layers are checkpointed so that their gradients do not come through the shards' tree",
                    ("found: torch.utils.checkpoint.checkpoint(..., use_reentrant=True)",),
                    "Pass use_reentrant=False.",
                )
            )
        following = {one for one, _ in node.next_functions if one is not None} - seen
        seen |= following
        nodes += following
