"""The forward of a module that each rank has as a whole: the shards' gradients are added up in one tree by autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from torch import Tensor
from torch.autograd.graph import register_multi_grad_hook
from torch.utils.hooks import RemovableHandle

from ..errors import DeterministicError
from .forward import ForwardPerShard, no_gradient, nodes_behind
from .shards import Batch
from .torch_internals import at_the_end, run_at_once


class ShardedForward(ForwardPerShard):
    """Parameters reach the shards by views of views, two of each.

    So autograd adds two gradients up at each, in one tree, as the ranks' sums go on with. Views are made depth first,
    lest the gradients of all shards are alive at once, and used again by further calls until a backward pass has come
    through, so that calls before one backward pass are one sum a shard.
    """

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._views: list[dict[str, Tensor]] = []
        self._viewed: list[tuple[Tensor, Any]] = []
        self._checks: list[RemovableHandle] = []

    def __getstate__(self) -> dict[str, Any]:
        # Views that autograd knows cannot be copied.
        return {**self.__dict__, "_views": [], "_viewed": [], "_settled": [], "_checks": []}

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
            for output, views in zip(outputs, self._views, strict=True):
                self._require_own_views(output, views)
            self._is_known = True
        return outputs

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, p) for name, p in self._module.named_parameters() if p.requires_grad)

    def _needs_views(self) -> bool:
        now = [*self._module.parameters()]
        return (
            not self._views
            or len(now) != len(self._viewed)
            or any(p is not one or _state(p) != was for p, (one, was) in zip(now, self._viewed, strict=True))
        )

    def _fork(self, parameters: dict[str, Tensor], count: int, run: Callable[[dict[str, Tensor]], None]) -> None:
        """Run every shard with views of the parameters."""
        self._views = []
        self._viewed = [(parameter, _state(parameter)) for parameter in self._module.parameters()]

        def fork(tensors: dict[str, Tensor], count: int) -> None:
            if count == 1:
                self._views.append(tensors)
                run(tensors)
                return
            for _ in range(2):
                fork({name: _view(tensor) for name, tensor in tensors.items()}, count // 2)

        roots = {name: _view(parameter) for name, parameter in parameters.items()}
        if roots:
            register_multi_grad_hook(tuple(roots.values()), self._arrived, mode="any")
        for check in self._checks:
            check.remove()
        checks = (_check_of_sum(name, parameters[name], root) for name, root in roots.items())
        self._checks = [check for check in checks if check is not None]
        fork(roots, count)

    def _require_own_views(self, outputs: Any, views: dict[str, Tensor]) -> None:
        """Refuse an output that a parameter has reached in another way than by the views of its shard."""
        names: dict[Any, str] = {view.grad_fn: name for one in self._views for name, view in one.items()}
        of_tensors = {id(parameter): name for name, parameter in self._trained()}
        for node in nodes_behind(outputs, {view.grad_fn for view in views.values()}):
            if "CheckpointFunction" in node.name():
                raise DeterministicError(
                    "layers are checkpointed so that their gradients do not come through the shards' tree",
                    ("found: torch.utils.checkpoint.checkpoint(..., use_reentrant=True)",),
                    "Pass use_reentrant=False.",
                )
            if name := names.get(node) or of_tensors.get(id(getattr(node, "variable", None))):
                _refuse_other_way(name)

    def _arrived(self, _: Tensor) -> None:
        """Refuse a gradient that would be added to another one: the order of these sums would depend on the ranks."""
        self._views = []
        at_the_end(self._put_back)
        for name, parameter in self._trained():
            if parameter.grad is not None and bool(parameter.grad.any()):
                raise DeterministicError(
                    "gradients are accumulated over several backward passes, and that sum depends on the ranks",
                    (f"found: {name}.grad is not zero",),
                    "Call optimizer.zero_grad() before backward(), and accumulate by a larger batch: a rank goes "
                    "over its shards anyway.",
                )


def _view(tensor: Tensor) -> Tensor:
    """Return a view whose gradient goes on at once: its shard comes through first, with all gradients alive, else."""
    view = tensor.view_as(tensor)
    run_at_once(view.grad_fn)
    return view


def _state(parameter: Tensor) -> tuple[bool, int, int]:
    """Return what views of a parameter do not outlive: autograd makes them anew, from it alone, once it was written."""
    return parameter.requires_grad, parameter._version, parameter.data_ptr()


def _check_of_sum(name: str, parameter: Tensor, root: Tensor) -> RemovableHandle | None:
    """Refuse, in one backward pass, a gradient to which another one was added that did not come through the shards."""
    if getattr(parameter, "_backward_hooks", None):  # which may give another gradient
        return None
    came: list[Tensor] = []

    def check(total: Tensor) -> None:
        handle.remove()
        if came and came.pop().data_ptr() != total.data_ptr():
            _refuse_other_way(name)

    handle: RemovableHandle = parameter.register_hook(check)
    root.register_hook(came.append)
    return handle


def _refuse_other_way(name: str) -> NoReturn:
    raise DeterministicError(
        "a parameter has gradients that do not come through the shards, and that sum depends on the ranks",
        (f"found: {name}, in a loss or a layer by itself, in a hook, or kept from one shard to the next",),
        "Let the module's forward use it, and return what the loss needs, as a penalty on the weights.",
    )
