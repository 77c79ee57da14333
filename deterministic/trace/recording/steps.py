"""What is recorded at each step of an optimizer: gradients, parameters, the optimizer's own state."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from .observations import Observations
from .states import States
from .threads import works_for


class Steps:
    """Watches every optimizer, through torch's global hooks.

    Args:
        observations: Where records go.
        states: Where those of parameters go; it tells what they are called.
        on_start: Called before a step, with the closure that it was given, if any; returns the closure to use.
        on_end: Called after a step with the optimizer's number, the step's, and whether it can be compared.
    """

    def __init__(
        self,
        observations: Observations,
        states: States,
        on_start: Callable[[Any], Any],
        on_end: Callable[[int, int, bool], None],
    ) -> None:
        self._observations = observations
        self._states = states
        self._on_start = on_start
        self._on_end = on_end
        self._numbers: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._counts: list[int] = []
        self._number_by_hand: int | None = None
        self._thread = threading.get_ident()
        self._handles: list[Any] = []
        self.missed = 0
        """Steps that other threads made: they are not recorded."""

    def start(self) -> None:
        """Put the hooks in place."""
        self._handles.append(torch_optimizer.register_optimizer_step_pre_hook(self._before))
        self._handles.append(torch_optimizer.register_optimizer_step_post_hook(self._after))

    def stop(self) -> None:
        """Take the hooks away."""
        while self._handles:
            self._handles.pop().remove()

    @property
    def total(self) -> int:
        """The number of steps so far, of all optimizers."""
        return sum(self._counts)

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        if not works_for(self._thread):
            return None
        if optimizer not in self._numbers:
            self._numbers[optimizer] = len(self._counts)
            self._counts.append(0)
            title = f"{type(optimizer).__name__} before its first step"
            state = _state(optimizer, self._parameters(optimizer))
            self._observations.add("state", title, state, spot=self._observations.here())
        # The arguments begin with the optimizer itself.
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        wrapped = self._on_start(closure)
        if wrapped is closure:
            return None
        return ((args[0], wrapped, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": wrapped})

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not works_for(self._thread):
            self.missed += 1
            return
        number = self._numbers.get(optimizer)
        if number is None:
            return  # this recording began within the step
        count = self._counts[number]
        self._counts[number] += 1
        parameters = self._parameters(optimizer)
        title = type(optimizer).__name__
        gradients = [(name, p.grad) for name, p in parameters if p.grad is not None]
        compared = self._observations.add("gradient", title, gradients)
        compared += self._states.step(title, parameters)
        self._observations.add("optimizer state", title, _state(optimizer, parameters))
        self._on_end(number, count, compared > 0)

    def by_hand(self, leaves: Sequence[torch.Tensor]) -> None:
        """Record a step that no optimizer of torch's made: all of these count as those of one more optimizer."""
        if self._number_by_hand is None:
            self._number_by_hand = len(self._counts)
            self._counts.append(0)
        count = self._counts[self._number_by_hand]
        self._counts[self._number_by_hand] += 1
        compared = self._states.step("an update without torch.optim", self.named(leaves))
        self._on_end(self._number_by_hand, count, compared > 0)

    def named(self, leaves: Sequence[torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
        """Return leaves with their names; those that no module has are numbered."""
        return [(self._states.path(leaf) or f"leaf {index}", leaf) for index, leaf in enumerate(leaves)]

    def _parameters(self, optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.Tensor]]:
        return [
            (self._states.path(parameter) or f"parameter {index} of group {group}", parameter)
            for group, options in enumerate(optimizer.param_groups)
            for index, parameter in enumerate(options["params"])
        ]


def _state(optimizer: torch.optim.Optimizer, parameters: list[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, Any]]:
    """Yield the optimizer's state, by parameter, and its options."""
    for name, parameter in parameters:
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{key} of {name}", value
    for group, options in enumerate(optimizer.param_groups):
        for key, value in options.items():
            if isinstance(value, (bool, int, float, tuple, torch.Tensor)):
                yield f"{key} of group {group}", value
