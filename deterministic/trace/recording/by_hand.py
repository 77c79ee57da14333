"""Steps that no optimizer of torch's makes: a backward pass reaches leaves, and then they have other values."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .torch_internals import autograd, current_node, engine, is_only_described, is_transformed

Tensors = Sequence[torch.Tensor]

_FREED = 0
"""The hash of what has no values now, as the parameters that FSDP gathers for as long as a module runs."""

_watching: list[ByHand] = []


class ByHand:
    """Watches the backward passes of this thread; stop it when an optimizer steps.

    Args:
        read: Returns the hashes of tensors.
        on_backward: Called after a backward pass with the leaves that it reached, and a gradient of each.
        on_step: Called when the leaves have changed, with them.
    """

    def __init__(
        self,
        read: Callable[[Tensors], list[int]],
        on_backward: Callable[[Tensors, Sequence[torch.Tensor | None]], None],
        on_step: Callable[[Tensors], None],
    ) -> None:
        self._read = read
        self._on_backward = on_backward
        self._on_step = on_step
        self._is_rebinding = False
        self.thread = threading.get_ident()
        self.waiting: Sequence[tuple[torch.Tensor, int]] = ()
        """What the last backward pass reached, with hashes: kept alive until it has changed or another pass begins."""

    def start(self) -> None:
        """Watch the engine."""
        _watching.append(self)
        if autograd._engine_run_backward is engine:
            autograd._engine_run_backward = _run

    def stop(self) -> None:
        """Watch it no more."""
        self.waiting = ()
        if self in _watching:
            _watching.remove(self)
        if not _watching and autograd._engine_run_backward is _run:  # else it stays below what came later
            autograd._engine_run_backward = engine

    def look(self, *, is_end: bool = False) -> None:
        """See whether the leaves have changed, which is a step; at the end what the step before did tells, too."""
        if not self.waiting:
            return
        leaves, hashes = zip(*self.waiting, strict=True)
        if any(now not in (before, _FREED) for now, before in zip(self._read(leaves), hashes, strict=True)):
            self.waiting = ()
            self._on_step(leaves)
        elif is_end and self._is_rebinding:
            self.waiting = ()
            self._on_step(())  # which the new ones are nothing tells

    def before(self, leaves: Tensors) -> None:
        """Note that a backward pass begins; where like ones have come in place of all leaves, it was a step."""
        self.look()
        old, self.waiting = [(weakref.ref(leaf), leaf.shape, leaf.dtype) for leaf, _ in self.waiting], ()
        are_alike = [(leaf.shape, leaf.dtype) for leaf in leaves] == [one[1:] for one in old]
        if are_alike and all(leaf() is None for leaf, *_ in old):
            self._is_rebinding = True
            self._on_step(leaves)

    def after(self, leaves: Tensors, gradients: Sequence[torch.Tensor | None]) -> None:
        """Note that it is over."""
        self.waiting = [pair for pair in zip(leaves, self._read(leaves), strict=True) if pair[1] != _FREED]
        self._on_backward(leaves, gradients)


def _run(roots: Any, begin: Any, retain: Any, create: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand before what `Tensor.backward`, `autograd.backward` and `autograd.grad` call: these dynamo must find."""
    is_outermost = current_node() is None and not is_only_described()
    watching = [one for one in _watching if is_outermost and one.thread == threading.get_ident()]
    leaves = [*filter(_is_leaf, inputs or _reached(roots))] if watching else []
    for one in watching if leaves else ():
        one.before(leaves)
    result = engine(roots, begin, retain, create, inputs, *args, **kwargs)
    if leaves:
        of_inputs = dict(zip(map(id, inputs), result or (), strict=False))  # only `grad` returns any
        gradients = [of_inputs.get(id(leaf), leaf.grad) for leaf in leaves]
        for one in watching:
            one.after(leaves, gradients)
    return result


def _is_leaf(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.is_leaf and not is_transformed(tensor)


def _reached(roots: Sequence[Any]) -> list[Any]:
    """Return the leaves that a backward pass reaches from its roots, which are tensors or edges of the graph."""
    found = [*roots]
    nodes = [getattr(root, "node", None) or root.grad_fn for root in reversed(roots)]
    known = {None}
    while nodes:
        node = nodes.pop()
        if node not in known:
            known.add(node)
            edges = node.next_functions
            if not edges:
                found.append(getattr(node, "variable", None))  # of what adds up the gradients of a leaf
            nodes += [edge for edge, _ in reversed(edges)]
    return found
