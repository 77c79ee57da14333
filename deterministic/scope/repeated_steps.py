"""A decorated training step: each call starts from the seed, so every step draws the dropout masks of the first."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RepeatedDrawsWarning, explain, warn
from . import stack

if TYPE_CHECKING:
    from .run import Run

_WATCHED = 10
"""Calls of a function that are watched: one that goes on with the training of earlier calls does so by then."""


class RepeatedSteps:
    """Watches the first calls of one decorated function, and warns once if they train what earlier ones have trained.

    What a call makes itself it may train. So may calls in scopes of their own: the repetitions of `verify`.

    Args:
        what: The function and its line.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.calls_left = _WATCHED
        self._around: weakref.ref[Run] | None = None  # the scope in which the calls are
        self._trained: list[weakref.ref[Any]] = []  # the first parameter of each optimizer

    def watch(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a function, and look at the steps of optimizers meanwhile."""
        *_, around, here = [None, *stack.entries()]
        if here is None or here.config.seed is None:  # it draws on
            return function(*args, **kwargs)
        from torch.optim.optimizer import register_optimizer_step_post_hook

        trained: list[weakref.ref[Any]] = []
        thread = threading.get_ident()

        def note(optimizer: Any, *_: Any) -> None:
            first = next((one for group in optimizer.param_groups for one in group["params"]), optimizer)
            if thread == threading.get_ident() and not any(one() is first for one in trained):
                trained.append(weakref.ref(first))

        hook = register_optimizer_step_post_hook(note)
        try:
            result = function(*args, **kwargs)
        finally:
            hook.remove()
        self.calls_left -= 1
        scope = None if around is None else weakref.ref(around.run)
        if scope != self._around:
            self._around, self._trained = scope, []
        if any(one() is other() is not None for one in trained for other in self._trained):
            self.calls_left = 0
            warn(
                RepeatedDrawsWarning,
                explain(
                    "a decorated function was called again and trains on what an earlier call has trained: every call "
                    "starts from the seed, with the same draws (dropout, noise, the order of the data)",
                    (f"decorated: {self._what}", f"seed: {here.config.seed}"),
                    "Decorate the whole training and not a part of it, or put `with reproducible(...):` around the "
                    "loop; and if each call is to start from the seed, ignore RepeatedDrawsWarning.",
                ),
            )
        self._trained += trained
        return result
