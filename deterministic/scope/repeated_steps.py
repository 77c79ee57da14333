"""A decorated training step: each call starts from the seed, so every step draws the dropout masks of the first."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from ..errors import RepeatedDrawsWarning, warn
from . import stack
from .interrupt import indivisible


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
        trained = _Trained()
        try:
            result = function(*args, **kwargs)
        finally:
            trained.end()
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


class _Trained(list["weakref.ref[Any]"]):
    """What optimizers of this thread step, weakly, the first parameter of each; to its end, or as long as it lives.

    So an interrupt leaves no hook behind, also between two bytecodes where no `try` would see it.
    """

    @indivisible
    def __init__(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self._thread = threading.get_ident()
        note = weakref.WeakMethod(self._note)
        self._hook = register_optimizer_step_post_hook(lambda optimizer, *_: (of := note()) and of(optimizer))

    def _note(self, optimizer: Any) -> None:
        first = next((one for group in optimizer.param_groups for one in group["params"]), optimizer)
        if self._thread == threading.get_ident() and not any(one() is first for one in self):
            self.append(weakref.ref(first))

    @indivisible
    def end(self) -> None:
        """Look no longer."""
        self._hook.remove()

    __del__ = end
