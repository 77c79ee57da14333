"""A decorated training step: each call starts from the seed, so every step draws the dropout masks of the first."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from ..errors import RepeatedDrawsWarning, warn
from . import stack


class RepeatedSteps:
    """Watches the first calls of one decorated function, and warns once if they train what earlier ones have trained.

    What a call makes itself it may train. So may calls in scopes of their own: the repetitions of `verify`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.calls_left = 10
        self._around: Any = None  # the run of the scope in which the calls are, held weakly
        self._trained: list[weakref.ref[Any]] = []  # the first parameter of each optimizer

    def watch(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, and look at the steps of optimizers meanwhile."""
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
        *_, around, here = [None, None, *stack.entries()]
        scope = None if around is None else weakref.ref(around.run)
        if scope != self._around:
            self._around, self._trained = scope, []
        seed = None if here is None else here.config.seed
        if seed is not None and any(now() is before() is not None for now in trained for before in self._trained):
            self.calls_left = 0
            differs = "a decorated function goes on with the training of an earlier call, and draws again what it drew"
            remedy = "Decorate the whole training, not a part of it; or put `with reproducible(...):` around the loop."
            warn(RepeatedDrawsWarning, differs, (f"decorated: {self._what}", f"seed: {seed}"), remedy)
        self._trained += trained
        return result
