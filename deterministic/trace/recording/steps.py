"""The steps of optimizers, with what is recorded at each; and steps by hand, that no optimizer of torch's makes.

Of those by hand it is seen that a backward pass reaches leaves, and then they have other values.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from .records import Records
from .states import NamedTensors, States
from .torch_internals import autograd, current_node, engine, is_only_described, is_transformed, works_for

_FREED = 0  # the hash of what has no values now, as the parameters that FSDP gathers for as long as a module runs


class Steps:
    """Watches every optimizer, through torch's global hooks.

    `on_start` is called before a step, with the closure that it was given, if any, and returns the one to use; `on_end`
    after a step with the optimizer's number, the step's, and whether it can be compared.
    """

    def __init__(
        self, records: Records, states: States, on_start: Callable[[Any], Any], on_end: Callable[[int, int, bool], None]
    ) -> None:
        self._records = records
        self._states = states
        self._on_start = on_start
        self._on_end = on_end
        self._numbers: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._counts: list[int] = []
        self._number_by_hand: int | None = None
        self._thread = threading.get_ident()
        self._handles: list[Any] = []
        self.missed = 0  # steps that other threads made: they are not recorded

    def start(self) -> None:
        self._handles.append(torch_optimizer.register_optimizer_step_pre_hook(self._before))
        self._handles.append(torch_optimizer.register_optimizer_step_post_hook(self._after))

    def stop(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    @property
    def total(self) -> int:
        return sum(self._counts)

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        if not works_for(self._thread):
            return None
        if optimizer not in self._numbers:
            self._numbers[optimizer] = self._new()
            title = f"{type(optimizer).__name__} before its first step"
            state = _state(optimizer, self._parameters(optimizer))
            self._records.add("state", title, state, spot=self._records.places.here())
        # The arguments begin with the optimizer itself.
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        wrapped = self._on_start(closure)
        if wrapped is closure:
            return None
        return ((args[0], wrapped, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": wrapped})

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not works_for(self._thread):
            self.missed += 1
        elif optimizer in self._numbers:  # else this recording began within the step
            parameters = self._parameters(optimizer)
            title = type(optimizer).__name__
            gradients = [(name, p.grad) for name, p in parameters if p.grad is not None]
            compared = self._records.add("gradient", title, gradients)
            compared += self._states.step(title, parameters)
            self._records.add("optimizer state", title, _state(optimizer, parameters))
            self._end(self._numbers[optimizer], compared)

    def by_hand(self, leaves: Sequence[torch.Tensor]) -> None:
        """Record a step that no optimizer of torch's made: all of these count as those of one more optimizer."""
        if self._number_by_hand is None:
            self._number_by_hand = self._new()
        named = sorted(self.named(leaves), key=itemgetter(0))  # as gradients are, whose order is that of the graph
        self._end(self._number_by_hand, self._states.step("an update without torch.optim", named))

    def named(self, leaves: Sequence[torch.Tensor]) -> NamedTensors:
        """Return leaves with their names; those that no module has are numbered."""
        return [(self._states.path(leaf) or f"leaf {index}", leaf) for index, leaf in enumerate(leaves)]

    def _new(self) -> int:
        self._counts.append(0)
        return len(self._counts) - 1

    def _end(self, number: int, compared: int) -> None:
        self._counts[number] += 1
        self._on_end(number, self._counts[number] - 1, compared > 0)

    def _parameters(self, optimizer: torch.optim.Optimizer) -> NamedTensors:
        return [
            (self._states.path(parameter) or f"parameter {index} of group {group}", parameter)
            for group, options in enumerate(optimizer.param_groups)
            for index, parameter in enumerate(options["params"])
        ]


def _state(optimizer: torch.optim.Optimizer, parameters: NamedTensors) -> Iterator[tuple[str, Any]]:
    """Yield the optimizer's state, by parameter, and its options."""
    for name, parameter in parameters:
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{key} of {name}", value
    for group, options in enumerate(optimizer.param_groups):
        for key, value in options.items():
            if isinstance(value, (bool, int, float, tuple, torch.Tensor)):
                yield f"{key} of group {group}", value


class ByHand:
    """Watches the backward passes of this thread, and until an optimizer steps, what became of the leaves.

    `on_roots` is called with what a backward pass begins from, before it does; `on_backward` after it with the leaves
    that it reached, and a gradient of each; `on_step` with the leaves when they have changed.
    """

    def __init__(
        self,
        read: Callable[[Sequence[torch.Tensor]], list[int]],
        on_backward: Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor | None]], None],
        on_step: Callable[[Sequence[torch.Tensor]], None],
        on_roots: Callable[[Sequence[Any]], None],
    ) -> None:
        self._read = read
        self._on_backward = on_backward
        self._on_step = on_step
        self.on_roots = on_roots
        self._is_rebinding = False
        self.is_over = False  # whether there is an optimizer, so that leaves are looked at no more
        self.thread = threading.get_ident()
        self.waiting: Sequence[tuple[torch.Tensor, int]] = ()
        """What the last backward pass reached, with hashes: kept alive until it has changed or another pass begins."""

    def start(self) -> None:
        _watching.append(self)
        if autograd._engine_run_backward is engine:
            autograd._engine_run_backward = _run

    def rest(self) -> None:
        """Look at leaves no more."""
        self.waiting, self.is_over = (), True

    def stop(self) -> None:
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

    def before(self, leaves: Sequence[torch.Tensor]) -> None:
        """Note that a backward pass begins; where like ones have come in place of all leaves, it was a step."""
        self.look()
        old, self.waiting = [(weakref.ref(leaf), leaf.shape, leaf.dtype) for leaf, _ in self.waiting], ()
        are_alike = [(leaf.shape, leaf.dtype) for leaf in leaves] == [one[1:] for one in old]
        if are_alike and all(leaf() is None for leaf, *_ in old):
            self._is_rebinding = True
            self._on_step(leaves)

    def after(self, leaves: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]) -> None:
        self.waiting = [pair for pair in zip(leaves, self._read(leaves), strict=True) if pair[1] != _FREED]
        self._on_backward(leaves, gradients)


_watching: list[ByHand] = []


def _run(roots: Any, begin: Any, retain: Any, create: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand before what `Tensor.backward`, `autograd.backward` and `autograd.grad` call: these dynamo must find."""
    is_outermost = current_node() is None and not is_only_described()
    watching = [one for one in _watching if is_outermost and one.thread == threading.get_ident()]
    by_hand = [one for one in watching if not one.is_over]
    leaves = [*filter(_is_leaf, inputs or _reached(roots))] if by_hand else []
    for one in by_hand if leaves else ():
        one.before(leaves)
    for one in watching:
        one.on_roots(roots)
    result = engine(roots, begin, retain, create, inputs, *args, **kwargs)
    if leaves:
        of_inputs = dict(zip(map(id, inputs), result or (), strict=False))  # only `grad` returns any
        gradients = [of_inputs.get(id(leaf), leaf.grad) for leaf in leaves]
        for one in by_hand:
            one.after(leaves, gradients)
    return result


def _is_leaf(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.is_leaf and not is_transformed(tensor)


def _reached(roots: Sequence[Any]) -> list[Any]:
    """Return the leaves that a backward pass reaches from its roots, which are tensors or edges of the graph."""
    reached = [*roots]
    nodes = [getattr(root, "node", None) or root.grad_fn for root in reversed(roots)]
    known = {None}
    while nodes:
        node = nodes.pop()
        if node not in known:
            known.add(node)
            edges = node.next_functions
            if not edges:
                reached.append(getattr(node, "variable", None))  # of what adds up the gradients of a leaf
            nodes += [edge for edge, _ in reversed(edges)]
    return reached
