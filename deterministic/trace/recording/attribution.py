"""To which phase, module and line an operation belongs; for the backward pass, to those of its forward operation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any, NamedTuple, TypeAlias

from .modules import OUTSIDE, ModuleName, Modules
from .places import Places, Spot
from .torch_internals import current_node, current_pass, next_sequence_number, sequence_number

GENERATIONS, LONGEST_GENERATION = 8, 1 << 15
"""How many steps' forward operations are remembered for a backward pass that has not come yet, and at most how many of
one step; of a longer one the rest counts as a step of its own."""


class Where(NamedTuple):
    """Phase, module, spot in the user's code, and in the backward phase the autograd node."""

    phase: str
    module: ModuleName
    spot: Spot | None
    node: str = ""


_Remembered: TypeAlias = tuple[ModuleName, Spot | None]


class Attribution:
    """Finds where the operation that runs now belongs.

    Autograd numbers its nodes as the forward pass makes them, one sequence for each thread, and tells the number of the
    node that the backward pass evaluates: so an operation of the backward pass has the module and the line of the
    forward operation with its node's number. No anomaly mode is needed.
    """

    def __init__(self, modules: Modules, places: Places, owner_of: Callable[[Any], ModuleName]) -> None:
        self._modules = modules
        self._places = places
        self._owner_of = owner_of
        self._thread = threading.get_ident()
        self._forward: deque[dict[tuple[int, int], _Remembered]] = deque([{}], maxlen=GENERATIONS)
        self._modules_at: dict[tuple[int, int] | None, set[ModuleName]] = {}
        self._last_numbers: dict[int, int] = {}
        self.optimizers_running = 0

    def here(self) -> Where:
        """Return where the operation belongs that has just run."""
        if self.optimizers_running:
            spot, is_running = self._places.in_optimizer()
            if is_running:
                return Where("optimizer", self._modules.current(), spot)
            self.optimizers_running = 0  # its step raised an exception: then no hook is called
        node = current_node()
        if node is None:
            module, spot = self._modules.current(), self._places.here()
            self._remember(module, spot)
            # At the end of a pass FSDP and DDP put together what their collectives brought.
            return Where("forward" if current_pass() < 0 else "backward", module, spot)
        spot, in_recompute = self._places.in_backward()
        module = self._modules.current()
        if module is not OUTSIDE or in_recompute:
            # Checkpointing runs a piece of the forward pass again, within the backward pass.
            if module is OUTSIDE:
                module = self._module_of_recomputed(spot, node)
            self._remember(module, spot)
            return Where("recompute", module, spot)
        module, forward_spot = self._forward_of(node)
        return Where("backward", module, spot or forward_spot, node.name())

    def note_view(self) -> None:
        """Note where a view was made: the backward pass may have work to do for it."""
        if not self.optimizers_running and self._last_numbers.get(threading.get_ident()) != next_sequence_number():
            self.here()

    def end_step(self) -> None:
        """Note that an optimizer's step is over: most of what was remembered is not asked for any more."""
        if self._forward[-1] and current_node() is None:
            self._forward.append({})

    def _remember(self, module: ModuleName, spot: Spot | None) -> None:
        thread, number = threading.get_ident(), next_sequence_number()
        if self._last_numbers.get(thread) == number:
            return
        self._last_numbers[thread] = number
        if len(self._forward[-1]) >= LONGEST_GENERATION:
            self._forward.append({})
        self._forward[-1][thread, number - 1] = module, spot
        self._modules_at.setdefault(_line(spot), set()).add(module)

    def _forward_of(self, node: Any) -> _Remembered:
        number = sequence_number(node)
        # A thread of autograd's has numbers of its own for what it recomputed; everything else is the main one's.
        for thread in dict.fromkeys((threading.get_ident(), self._thread)):
            for generation in reversed(self._forward):
                if (remembered := generation.get((thread, number))) is not None:
                    return remembered
        while node is not None and len(node.next_functions) == 1:  # as views of parameters, of `world_invariant`
            ((node, _),) = node.next_functions
        parameter = getattr(node, "variable", None)  # what adds up the gradients of a leaf
        return (OUTSIDE if parameter is None else self._owner_of(parameter)), None

    def _module_of_recomputed(self, spot: Spot | None, node: Any) -> ModuleName:
        """Return the module that a checkpointed function was called in, for no module is running when it runs again.

        It is one in which that line ran in the forward pass: of several, the one nearest to the module that is waiting
        for what is recomputed.
        """
        waiting, _ = self._forward_of(node)
        candidates = self._modules_at.get(_line(spot)) or {waiting}
        return max(candidates, key=lambda name: (_shared(name, waiting), -len(name.path), name))


def _line(spot: Spot | None) -> tuple[int, int] | None:
    return None if spot is None else spot.innermost


def _shared(one: ModuleName, other: ModuleName) -> int:
    if one.root != other.root:
        return -1
    steps = zip(one.path.split("."), other.path.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda step: step[0] == step[1], steps))
